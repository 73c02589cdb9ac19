/** What plans say of how long things take, by which they are cut: no driver may take a task or a dispatch for a hang. */
import { expect, test } from 'vitest';
import { full } from '../../../masks/band';
import type { Tensor } from '../../../tensor/tensor';
import type { AttentionCall, GatedDeltaRuleCall } from '../../backend';
import type { Device } from '../device';
import type { Plan, Workspace } from '../queue';
import { planAttention } from './attention';
import { planGatedDeltaRule } from './gated-delta-rule';

/** A tensor that is none, for what looks at its shape only. */
const shaped = (...shape: number[]) => ({ shape, size: shape.reduce((a, b) => a * b) }) as unknown as Tensor;

const device = { isSoftware: false, vendor: '', gpu: { limits: { maxComputeWorkgroupStorageSize: 16384 } } };
const workspace = { device: device as unknown as Device, keep: shaped, scratch: shaped } as unknown as Workspace;

const longest = ({ dispatches }: Plan) => Math.max(...dispatches.map(({ operations, tasks }) => operations / tasks));

test('the delta rule token by token, however many there are', () => {
  const [rows, gates] = [shaped(1, 2 ** 18, 1, 64), shaped(1, 2 ** 18, 1)];
  const tokens = { q: rows, k: rows, v: rows, g: gates, beta: gates };
  const results = { out: rows, state: shaped(1, 1, 64, 64) };
  const call = { ...tokens, ...results, form: 'recurrent', scale: 1 } as unknown as GatedDeltaRuleCall;
  expect(longest(planGatedDeltaRule(call, workspace))).toBeLessThan(2 ** 28);
});

test('attention whose rows all have to be computed with care, as one NaN among the values is enough for', () => {
  const rows = shaped(1, 4096, 8, 64);
  const call = { q: rows, k: rows, v: rows, out: rows, lse: rows, scale: 1, mask: full() } as unknown as AttentionCall;
  const [fast, careful] = planAttention(call, workspace).dispatches;
  expect(careful!.operations).toBeGreaterThan(fast!.operations);
  expect(careful!.usual).toBeLessThan(fast!.operations / 1000);
});
