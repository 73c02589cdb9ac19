import type { Suite } from '../suite';
import { attentionSuite } from './attention';
import { backwardSuite } from './backward';
import { buildsSuite } from './builds';
import { chainSuite } from './chain';
import { convSuite } from './conv';
import { decodeSuite } from './decode';
import { decoderSuite } from './decoder';
import { kernelsSuite } from './kernels';
import { linearSuite } from './linear';
import { localLinearSuite } from './local-linear';
import { memorySuite } from './memory';
import { opsSuite } from './ops';
import { overheadSuite } from './overhead';
import { primitivesSuite } from './primitives';
import { productsSuite } from './products';
import { scoresSuite } from './scores';
import { shapesSuite } from './shapes';
import { sparseSuite } from './sparse';
import { startSuite } from './start';
import { threadsSuite } from './threads';
import { trainSuite } from './train';
import { visionSuite } from './vision';

export const suites: readonly Suite[] = [
  attentionSuite,
  sparseSuite,
  backwardSuite,
  linearSuite,
  localLinearSuite,
  shapesSuite,
  scoresSuite,
  threadsSuite,
  memorySuite,
  overheadSuite,
  startSuite,
  chainSuite,
  decodeSuite,
  decoderSuite,
  trainSuite,
  primitivesSuite,
  productsSuite,
  opsSuite,
  convSuite,
  visionSuite,
  kernelsSuite,
  buildsSuite,
];
