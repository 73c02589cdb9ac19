/** Attention of own queries to the keys of several ranks, whose backward pass exchanges them again. */
import type { Mask } from '../masks/mask';
import { type Selected, selection as selected } from '../masks/selection';
import { type AttentionGradients, type AttentionSettings, attention, attentionBackward } from '../ops/attention';
import type { CheckedSelection } from '../ops/attention/selection';
import { tensorsOf } from '../ops/attention/settings';
import type { Values } from '../ops/compute';
import { cast, widened } from '../ops/copy';
import { zeros } from '../ops/float32';
import { add } from '../ops/map';
import { type AttentionState, mergeStates } from '../ops/merge-states';
import { partsOf, type Score, withTensors } from '../scores/score';
import { type DerivativeContext, withDerivative } from '../tape';
import type { Tensor } from '../tensor/tensor';
import { circulate, dispose, type Ring, type Visit } from './circulate';
import type { Communicator } from './communicator';
import type { PartScores } from './part-score';

/** Keys of a rank or of several, and which of them the own queries see. */
export interface Source {
  readonly tokens: number;
  readonly mask: Mask;
  /** Whether the mask sees nothing. */
  readonly isUnseen: boolean;
  /** Changes of scores of whole sequences, as they are for these keys. */
  readonly scores: PartScores;
  /** What of a selection for whole sequences is about these keys. */
  partOf(selected: Selected): Selected;
}

/** What attention takes beside a mask, for whole sequences. */
interface ExchangedSettings {
  readonly scale: number | undefined;
  readonly score: Score | undefined;
  readonly selection: CheckedSelection | undefined;
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
  settings: ExchangedSettings,
): AttentionState {
  const { score, selection } = settings;
  const captured = tensorsOf(score);
  const further = { ...captured, ...selection?.tensors };
  const count = Object.keys(captured).length;
  const wantsCaptured = Object.values(captured).some(({ variable }) => variable !== undefined);
  const forward = (q: Tensor, k: Tensor, v: Tensor, ...more: readonly Tensor[]): AttentionState => {
    const settingsAt = settingsOf(settings, Object.keys(further), more);
    let state: AttentionState | undefined;
    exchange([k, v], ([k, v], source) => {
      if (source.isUnseen && state) return undefined;
      const part = attention(q, k as Tensor, v as Tensor, settingsAt(source));
      state = state ? joined(state, part) : part;
      return undefined;
    });
    const { out, lse } = state as AttentionState;
    return { out: out.dtype === q.dtype ? out : cast(out, q.dtype as 'f32'), lse };
  };
  const backward = ({ inputs, results, gradients }: Context) => {
    const [q, k, v, ...more] = inputs;
    const settingsAt = settingsOf(settings, Object.keys(further), more);
    const given: AttentionGradients = {
      ...results,
      gradOut: gradients.out ?? zeros(q.runtime, results.out.shape),
      gradLse: gradients.lse,
    };
    /** With respect to queries and to what the score captured. */
    let own: readonly (Tensor | undefined)[] | undefined;
    const found = exchange([k, v], ([k, v], source) => {
      if (source.isUnseen) return [k, v].map((x) => zeros(q.runtime, (x as Tensor).shape));
      const options = { ...settingsAt(source), captured: wantsCaptured };
      const grads = attentionBackward(q, k as Tensor, v as Tensor, given, options);
      const ofCaptured = wantsCaptured ? gradientsOfTensors(score as Score, grads.gradCaptured) : [];
      const part = [widened(grads.gradQ), ...ofCaptured];
      own = own ? own.map((x, at) => x && sum(x, part[at] as Tensor)) : part;
      return [widened(grads.gradK), widened(grads.gradV)];
    });
    const [gradQ = zeros(q.runtime, q.shape), ...ofCaptured] = own ?? [];
    const [gradK, gradV] = found as [Tensor, Tensor];
    const all = [gradQ, gradK, gradV].map((x, at) =>
      x.dtype === (inputs[at] as Tensor).dtype ? x : cast(x, q.dtype as 'f32'),
    );
    return [...all, ...more.map((_, at) => (at < count ? ofCaptured[at] : undefined))];
  };
  return withDerivative(forward, backward, { always: true })(q, k, v, ...Object.values(further));
}

/** What attention to a source takes, by tensors of these names: those that the score captured, then those of the selection. */
function settingsOf(
  { scale, score, selection }: ExchangedSettings,
  names: readonly string[],
  tensors: readonly Tensor[],
): (source: Source) => AttentionSettings {
  const count = score?.tensors.length ?? 0;
  const own = score && withTensors(score, (at) => tensors[at] as Tensor);
  const selecting = Object.fromEntries(names.slice(count).map((name, at) => [name, tensors[count + at] as Tensor]));
  return ({ mask, scores, partOf }) => ({
    scale,
    score: own && scores.of(own),
    ...(selection
      ? {
          deferred: {
            tensors: selecting,
            mask: (values: Values) => selected(mask, partOf(selection.selected(values))),
          },
        }
      : { mask }),
  });
}

/** The gradients of the tensors that a score captured, in their order. */
function gradientsOfTensors(
  score: Score,
  gradients: Readonly<Record<string, Tensor>>,
): readonly (Tensor | undefined)[] {
  const parts = partsOf(score);
  return score.tensors.map((_, at) => {
    const part = parts.find(({ table }) => table === `t${at}`);
    return part && gradients[part.name];
  });
}

type Context = DerivativeContext<[Tensor, Tensor, Tensor, ...Tensor[]], AttentionState>;

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
