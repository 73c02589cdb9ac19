/** Attention of own queries to the keys of several ranks, whose backward pass exchanges them again. */
import type { Mask } from '../masks/mask';
import { type AttentionGradients, attention, attentionBackward } from '../ops/attention';
import { cast, widened } from '../ops/copy';
import { zeros } from '../ops/float32';
import { add } from '../ops/map';
import { type AttentionState, mergeStates } from '../ops/merge-states';
import { type DerivativeContext, withDerivative } from '../tape';
import type { Tensor } from '../tensor/tensor';
import { circulate, dispose, type Ring, type Visit } from './circulate';
import type { Communicator } from './communicator';

/** Keys of a rank or of several, and which of them the own queries see. */
export interface Source {
  readonly tokens: number;
  readonly mask: Mask;
  /** Whether the mask sees nothing. */
  readonly isUnseen: boolean;
}

/** How keys and values come by: shows each source once, and returns the sums of what was found for own keys and values. */
export type Exchange = (
  keys: readonly Tensor[],
  visit: (keys: readonly Tensor[], source: Source) => readonly Tensor[] | undefined,
) => readonly Tensor[] | undefined;

/** Keys and values go round. */
export const roundRings =
  (rings: readonly Ring[], sources: readonly Source[]): Exchange =>
  (keys, visit) => {
    const visitSource: Visit = (block, source) => visit(block, sources[source] as Source);
    return circulate(rings, keys, (source) => (sources[source] as Source).tokens, visitSource);
  };

/** Keys and values of all ranks are gathered on each. */
export const gathered =
  (communicator: Communicator, counts: readonly number[], all: Source): Exchange =>
  (keys, visit) => {
    const whole = keys.map((x) => communicator.allGather(x, { axis: 1, counts }));
    const found = visit(whole, all);
    dispose(whole);
    const own = found?.map((x) => communicator.reduceScatter(x, { axis: 1, counts }));
    dispose(found ?? []);
    return own;
  };

/**
 * Attention of q [b,n,h,d] to the keys that an exchange brings, of which k [b,t,g,d] and v [b,t,g,e] are the own. Of the
 * results of sources only their joint state is held, and the tape keeps what it would of attention to the own keys.
 */
export function exchangedAttention(
  exchange: Exchange,
  [q, k, v]: readonly [Tensor, Tensor, Tensor],
  scale: number | undefined,
): AttentionState {
  const forward = (q: Tensor, k: Tensor, v: Tensor): AttentionState => {
    let state: AttentionState | undefined;
    exchange([k, v], ([k, v], { mask, isUnseen }) => {
      if (isUnseen && state) return undefined;
      const part = attention(q, k as Tensor, v as Tensor, { mask, scale });
      state = state ? joined(state, part) : part;
      return undefined;
    });
    const { out, lse } = state as AttentionState;
    return { out: out.dtype === q.dtype ? out : cast(out, q.dtype as 'f32'), lse };
  };
  const backward = ({ inputs: [q, k, v], results, gradients }: Context) => {
    const given: AttentionGradients = {
      ...results,
      gradOut: gradients.out ?? zeros(q.runtime, results.out.shape),
      gradLse: gradients.lse,
    };
    let gradQ: Tensor | undefined;
    const found = exchange([k, v], ([k, v], { mask, isUnseen }) => {
      if (isUnseen) return [k, v].map((x) => zeros(q.runtime, (x as Tensor).shape));
      const grads = attentionBackward(q, k as Tensor, v as Tensor, given, { mask, scale });
      const part = widened(grads.gradQ);
      gradQ = gradQ ? sum(gradQ, part) : part;
      return [widened(grads.gradK), widened(grads.gradV)];
    });
    const [gradK, gradV] = found as [Tensor, Tensor];
    const all = [gradQ ?? zeros(q.runtime, q.shape), gradK, gradV];
    return all.map((x, at) => (x.dtype === ([q, k, v][at] as Tensor).dtype ? x : cast(x, q.dtype as 'f32')));
  };
  return withDerivative(forward, backward, { always: true })(q, k, v);
}

type Context = DerivativeContext<[Tensor, Tensor, Tensor], AttentionState>;

/** The state of both, which are disposed; f32, so that it is rounded once at the end. */
function joined(a: AttentionState, b: AttentionState): AttentionState {
  const parts = [a, b].map(({ out, lse }) => ({ out: widened(out), lse }));
  const state = mergeStates(parts);
  dispose([...parts, a, b].flatMap(({ out, lse }) => [out, lse]));
  return state;
}

function sum(a: Tensor, b: Tensor): Tensor {
  const total = add(a, b);
  dispose([a, b]);
  return total;
}
