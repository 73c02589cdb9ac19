import type { Suite } from '../suite';
import { attentionSuite } from './attention';
import { buildsSuite } from './builds';
import { memorySuite } from './memory';
import { overheadSuite } from './overhead';
import { shapesSuite } from './shapes';
import { threadsSuite } from './threads';

export const suites: readonly Suite[] = [
  attentionSuite,
  shapesSuite,
  threadsSuite,
  memorySuite,
  overheadSuite,
  buildsSuite,
];
