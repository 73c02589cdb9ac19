import { expect, test } from 'vitest';
import { costOf } from './cost';
import { matmulOp } from './matmul';
import { rmsNormBackwardOp } from './norm';

test('operations follow from the declaration, bytes from its tensors', () => {
  expect(costOf(matmulOp.declaration, { '*': 5, r: 2, k: 3, c: 4 })).toEqual({
    operations: 2 * 5 * 2 * 3 * 4,
    bytes: 4 * 5 * (2 * 3 + 3 * 4 + 2 * 4),
  });
  expect(costOf(rmsNormBackwardOp.declaration, { '...': 7, c: 3 })).toEqual({ operations: 9 * 21, bytes: 12 * 21 });
  expect(() => costOf(matmulOp.declaration, { r: 2 })).toThrow("no extent of '*'");
});
