/**
 * What plans say of how long things take, by which they are cut: no driver may take a task or a dispatch for a hang. And
 * what working memory they take.
 */
import { expect, test } from 'vitest';
import { full } from '../../../masks/band';
import type { AttentionCall } from '../../../ops/attention/call';
import { planAttention } from '../../../ops/attention/forward/webgpu';
import type { GatedDeltaRuleBackwardCall, GatedDeltaRuleCall } from '../../../ops/gated-delta-rule/call';
import { planGatedDeltaRule, planGatedDeltaRuleBackward } from '../../../ops/gated-delta-rule/webgpu';
import type { LinearAttentionCall } from '../../../ops/linear-attention/call';
import { planLinearAttention } from '../../../ops/linear-attention/webgpu';
import type { Tensor } from '../../../tensor/tensor';
import { atOnce } from '../../turns';
import type { Plan, Workspace } from '../plan';

/** A tensor that is none, for what looks at its shape only. */
const shaped = (...shape: number[]) => ({ shape, size: shape.reduce((a, b) => a * b) }) as unknown as Tensor;

/** Those of every device. */
const limits = {
  maxComputeWorkgroupStorageSize: 16384,
  maxBufferSize: 2 ** 28,
  maxStorageBufferBindingSize: 2 ** 27,
};
const device = { isSoftware: false, vendor: '', limits };
/** Bytes of each piece of working memory that was asked for. */
const asked: number[] = [];
function scratch(shape: readonly number[]): Tensor {
  const made = shaped(...shape);
  asked.push(4 * made.size);
  return { ...made, strides: [] } as unknown as Tensor;
}
const workspace = {
  device,
  scratch,
  keep: () => shaped(1),
  upload: () => shaped(1),
} as unknown as Workspace;

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
  const [fast, careful] = atOnce(planAttention(call, workspace)).dispatches;
  expect(careful!.operations).toBeGreaterThan(fast!.operations);
  expect(careful!.usual).toBeLessThan(fast!.operations / 1000);
});

test('rounds keep little, however many heads there are and however small they are', () => {
  const rows = shaped(8, 4096, 64, 16);
  const gates = shaped(8, 4096, 64);
  const state = shaped(8, 64, 16, 16);
  const tokens = { q: rows, k: rows, v: rows, g: gates, beta: gates };
  const grads = { gradOut: rows, gradQ: rows, gradK: rows, gradV: rows, gradG: gates, gradBeta: gates };
  const ends = { initial: {}, final: { state } };
  const plans = {
    linear: () =>
      planLinearAttention(
        { ...tokens, ...ends, out: rows, causal: true, decay: [] } as unknown as LinearAttentionCall,
        workspace,
      ),
    delta: () =>
      planGatedDeltaRule(
        { ...tokens, out: rows, state, form: 'chunked', scale: 1 } as unknown as GatedDeltaRuleCall,
        workspace,
      ),
    'delta backward': () =>
      planGatedDeltaRuleBackward({ ...tokens, ...grads, scale: 1 } as unknown as GatedDeltaRuleBackwardCall, workspace),
  };
  for (const [name, plan] of Object.entries(plans)) {
    asked.length = 0;
    plan();
    expect(Math.max(...asked), name).toBeLessThan(1.5 * 2 ** 26);
  }
});
