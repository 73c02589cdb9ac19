import { linearOp } from '../../nn/linear';
import { linearCrossEntropyOp } from '../../nn/linear-cross-entropy';
import { attentionOp } from '../../ops/attention';
import { batchNormOp } from '../../ops/batch-norm';
import { convOp, convTransposeOp } from '../../ops/conv';
import { crossEntropyOp } from '../../ops/cross-entropy';
import { cumulativeSumOp } from '../../ops/cumulative-sum';
import { gatedDeltaRuleOp, gatedDeltaRuleStepOp } from '../../ops/gated-delta-rule';
import { embeddingOp, gatherOp } from '../../ops/gather';
import { linearAttentionOp } from '../../ops/linear-attention';
import { binaryOps, unaryOps } from '../../ops/map';
import { matmulOp } from '../../ops/matmul';
import { groupNormOp, layerNormOp, rmsNormBackwardOp, rmsNormOp } from '../../ops/norm';
import { farthestPointsOp, nearestPointsOp } from '../../ops/points';
import { reluAttentionBackwardOp, reluAttentionOp } from '../../ops/relu-attention';
import { ropeOp } from '../../ops/rope';
import { focusOp, routeOp } from '../../ops/routing';
import { addRowsOp } from '../../ops/scatter-add/core';
import { softmaxOp } from '../../ops/softmax';
import { argsortOp, topKOp } from '../../ops/top-k';
import type { Extents } from '../../tensor/shape';
import { type AnyOp, declaredOperation } from '../declared-operations';
import { rowsCopy } from '../primitive-operations';
import { MASKS } from '../problem';
import { operationRows, TIMING, timedSuite } from '../suite';

const ROWS = { '...': 4096, c: 1024 };
const ELEMENTS = { '*': 4096 * 1024 };
const PRODUCT = { '...': 1, n: 1024, in: 768, out: 3072 };
const SIGNAL = { b: 1, '...space': 3136, c: 64, i: 64, o: 64, '...kernel': 9 };
const HEADS = { b: 1, n: 1024, m: 1024, h: 8, g: 8, d: 64, e: 64 };
const CLOUD = { b: 1, n: 4096, 3: 3 };
const CLASSES = { '...': 1024, n: 1024, d: 256, classes: 4096 };

/** The declared ops that are timed, at which extents, and with which other arguments. */
export const OPS: readonly (readonly [op: AnyOp, extents: Extents, settings?: object])[] = [
  [unaryOps.exp, ELEMENTS],
  [unaryOps.tanh, ELEMENTS],
  [unaryOps.gelu, ELEMENTS],
  [binaryOps.add, ELEMENTS],
  [softmaxOp, ROWS],
  [layerNormOp, ROWS],
  [rmsNormOp, ROWS],
  [rmsNormBackwardOp, ROWS],
  [groupNormOp, ROWS, { groups: 32 }],
  [batchNormOp, ROWS],
  [cumulativeSumOp, ROWS],
  [topKOp, { ...ROWS, k: 8 }, { k: 8 }],
  [argsortOp, ROWS],
  [gatherOp, { '...': 4096, t: 1024, c: 1024 }],
  [embeddingOp, { '...': 4096, t: 1024, c: 1024 }],
  [addRowsOp, { ...ROWS, rows: 1024 }, { rows: 1024 }],
  [farthestPointsOp, { ...CLOUD, groups: 256 }, { groups: 256 }],
  [nearestPointsOp, { ...CLOUD, g: 256, size: 64 }, { size: 64 }],
  [routeOp, { ...ROWS, u: 4, 1: 1 }],
  [focusOp, { '...': 4096, d: 1024, 1: 1 }],
  [crossEntropyOp, CLASSES, { reduction: 'none' }],
  [linearCrossEntropyOp, CLASSES],
  [matmulOp, { '*': 1, r: 1024, k: 768, c: 3072 }],
  [linearOp, PRODUCT],
  [convOp, SIGNAL, { padding: 'same' }],
  [convTransposeOp, SIGNAL, { padding: 'same' }],
  [ropeOp, { '...': 4, n: 1024, h: 8, d: 128 }],
  [attentionOp, HEADS],
  [linearAttentionOp, HEADS],
  [reluAttentionOp, HEADS],
  [reluAttentionBackwardOp, HEADS],
  [gatedDeltaRuleOp, HEADS],
  [gatedDeltaRuleStepOp, { ...HEADS, b: 16, n: 1 }],
];

/** Every declared op beside a copy of as many bytes as the largest of them read. */
export const opsSuite = timedSuite({
  name: 'ops',
  summary: 'ops as they are declared, each beside a copy: bytes where memory is the limit, else arithmetic',
  defaults: TIMING,
  ratio: 'bytes read and written a millisecond over those of a copy',
  ratioOf: 'bytes',
  groups: () => [
    operationRows({ n: 4096, d: 1024, h: 1, mask: MASKS.full }, [
      ['copy', rowsCopy],
      ...OPS.map(([op, ...rest]) => [op.declaration.name, declaredOperation(op, ...rest)] as const),
    ]),
  ],
});
