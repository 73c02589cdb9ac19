/**
 * The delta rule over chunks of which some are not kept. All tokens of a chunk start from the state before it; the state
 * behind it is that of a second pass in which the tokens of chunks that go to softmax attention write nothing.
 */
import { add, multiply, subtract } from '../../../ops/elementwise';
import { gatedDeltaRule, gatedDeltaRuleBackward } from '../../../ops/gated-delta-rule';
import { sumRows } from '../../../ops/rows';
import type { Control } from '../../../runtime/backend';
import type { Tensor } from '../../../tensor/tensor';
import { ChunkRows } from './chunk-rows';
import type { Problem } from './problem';

export interface DeltaInputs {
  /** [b, n, h, d] and [b, n, h, e]. */
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  /** [b, n, h]. */
  readonly g: Tensor;
  readonly beta: Tensor;
}

export interface DeltaSettings {
  readonly problem: Problem;
  readonly scale: number;
  /** Whether the state decays over chunks that are not kept. */
  readonly forget: boolean;
  /** [b, c, h]: 1 for the chunks that are not kept. */
  readonly chosen: Uint8Array;
}

/** [b, n, h, e]. */
export function deltaForward(inputs: DeltaInputs, settings: DeltaSettings, control: Control = {}): Tensor<'f32'> {
  const { problem, scale } = settings;
  using out = new ChunkRows(inputs.q.runtime, problem, [problem.h, problem.e]);
  return RUNTIME.scope(() => {
    const keeping = keptGates(inputs, settings);
    let before: Tensor | undefined;
    for (let t = 0; t < problem.chunks; t++) {
      return RUNTIME.scope(() => {
        using place = out.at(t);
        const { q, k, v, g, beta, keptG, keptBeta } = chunkOf({ ...inputs, ...keeping }, problem, t);
        const initialState = before;
        const part = partOf(control, t, problem.chunks);
        const local = gatedDeltaRule(q, k, v, g, beta, { scale, initialState, out: place, ...part });
        if (!isMixed(settings, t)) before = local.state;
        else {
          local.state.dispose();
          const { out: unread, state } = gatedDeltaRule(k, k, v, keptG, keptBeta, { initialState, ...part });
          unread.dispose();
          before = state;
        }
        if (initialState) initialState.dispose();
      });
    }
    return out.inOrder();
  });
}

export interface DeltaGradients extends DeltaInputs {
  /** [b, c, h]: by the choices, of the chunks that are kept; of all, if the counterfactual ones are wanted. */
  readonly choices: Float64Array;
}

/** Gradients by the inputs and by the choices, from that by the result. */
export function deltaBackward(
  inputs: DeltaInputs,
  gradOut: Tensor,
  settings: DeltaSettings & { readonly counterfactual: boolean },
  control: Control = {},
): DeltaGradients {
  const { problem, scale, counterfactual } = settings;
  const { b, h, d, e, chunks } = problem;
  const { runtime } = inputs.q;
  return RUNTIME.scope(() => {
    const keeping = keptGates(inputs, settings);
    const all = { ...inputs, ...keeping, gradOut };
    const states = statesBefore(all, problem, {
      signal: control.signal,
      onProgress: (share) => control.onProgress?.(share / 3),
    });
    using byQ = new ChunkRows(runtime, problem, [h, d]);
    using byK = new ChunkRows(runtime, problem, [h, d]);
    using byV = new ChunkRows(runtime, problem, [h, e]);
    using byG = new ChunkRows(runtime, problem, [h]);
    using byBeta = new ChunkRows(runtime, problem, [h]);
    using nothing = runtime.tensor([0], []);
    const decays = decaysOf(inputs.g, settings);
    const choices = new Float64Array(b * chunks * h);
    let byNext: Tensor | undefined;
    for (let t = chunks - 1; t >= 0; t--) {
      return RUNTIME.scope(() => {
        const part = partOf(control, chunks - 1 - t, chunks, 1 / 3);
        const { q, k, v, g, beta, keptG, keptBeta, gradOut: byOut } = chunkOf(all, problem, t);
        const initialState = states[t] as Tensor;
        const mixed = isMixed(settings, t);
        const local = gatedDeltaRuleBackward(
          q,
          k,
          v,
          g,
          beta,
          { gradOut: byOut, gradState: mixed ? undefined : byNext },
          {
            ...{ scale, initialState },
            ...part,
          },
        );
        const write = (rows: ChunkRows, gradient: Tensor, other: Tensor) => {
          using out = rows.at(t);
          add(gradient, other, { out });
        };
        let byState = local.gradInitialState as Tensor;
        write(byQ, local.gradQ, nothing);
        if (mixed && byNext) {
          const zeros = runtime.tensor(new Float32Array(byOut.size), byOut.shape);
          const carry = gatedDeltaRuleBackward(
            k,
            k,
            v,
            keptG,
            keptBeta,
            { gradOut: zeros, gradState: byNext },
            {
              initialState,
              ...part,
            },
          );
          const factors = runtime.tensor(keptTokens(settings, t), g.shape);
          write(byK, local.gradK, carry.gradK);
          write(byV, local.gradV, carry.gradV);
          write(byG, local.gradG, settings.forget ? carry.gradG : multiply(carry.gradG, factors));
          write(byBeta, local.gradBeta, multiply(carry.gradBeta, factors));
          byState = add(byState, carry.gradInitialState as Tensor);
        } else {
          write(byK, local.gradK, nothing);
          write(byV, local.gradV, nothing);
          write(byG, local.gradG, nothing);
          write(byBeta, local.gradBeta, nothing);
        }
        if (byNext) {
          // Where the chunk is kept, the state behind it is that in which it ends.
          const ends = counterfactual
            ? gatedDeltaRule(k, k, v, g, beta, { initialState, ...part })
            : { state: states[t + 1] as Tensor };
          const slopes = writesAlong(byNext, ends.state, initialState, decays.subarray(t * b * h, (t + 1) * b * h));
          slopes.forEach((slope, place) => {
            const choice = (Math.floor(place / h) * chunks + t) * h + (place % h);
            if (counterfactual || !settings.chosen[choice]) choices[choice] = slope;
          });
        }
        byNext?.dispose();
        byNext = add(byState, nothing);
      });
    }
    const rows = { q: byQ, k: byK, v: byV, g: byG, beta: byBeta };
    const grads = {} as Record<keyof DeltaInputs, Tensor>;
    for (const name of Object.keys(rows) as (keyof DeltaInputs)[]) grads[name] = rows[name].inOrder();
    return { ...temporaries.release(grads), choices };
  });
}

type Gates = Readonly<Record<'keptG' | 'keptBeta', Tensor>>;

/** The states before all chunks. */
function statesBefore(inputs: DeltaInputs & Gates, problem: Problem, control: Control): Tensor[] {
  const { b, h, d, e, chunks } = problem;
  const zeros = new Float32Array(b * h * d * e);
  const states: Tensor[] = [inputs.q.runtime.tensor(zeros, [b, h, d, e])];
  for (let t = 0; t + 1 < chunks; t++) {
    return RUNTIME.scope(() => {
      const { k, v, keptG, keptBeta } = chunkOf(inputs, problem, t);
      const options = { initialState: states[t] as Tensor, ...partOf(control, t, chunks) };
      const { out, state } = gatedDeltaRule(k, k, v, keptG, keptBeta, options);
      out.dispose();
      states.push(state);
    });
  }
  return states;
}

/** For each head of each batch the sum of `byNext` times what a chunk writes: end - decay start. */
function writesAlong(byNext: Tensor, end: Tensor, start: Tensor, decays: Float32Array): Float32Array {
  return RUNTIME.scope(() => {
    const shape = [decays.length, -1];
    const rows = (x: Tensor) => x.reshape(shape);
    const factors = byNext.runtime.tensor(decays, [decays.length, 1]);
    const decayed = multiply(rows(start), factors);
    const written = subtract(rows(end), decayed);
    const products = multiply(written, rows(byNext));
    return sumRows(products).read();
  });
}

/** g and beta of the pass in which chunks that are not kept write nothing. */
function keptGates({ g, beta }: DeltaInputs, settings: DeltaSettings): Gates {
  const { b, n, h, chunks, chunk } = settings.problem;
  const kept = Float32Array.from({ length: b * n * h }, (_, at) => {
    const [batch, token, head] = [Math.floor(at / (n * h)), Math.floor(at / h) % n, at % h];
    return settings.chosen[(batch * chunks + Math.floor(token / chunk)) * h + head] ? 0 : 1;
  });
  const factors = g.runtime.tensor(kept, [b, n, h]);
  return {
    keptG: settings.forget ? g : multiply(g, factors),
    keptBeta: multiply(beta, factors),
  };
}

/** [b, tokens of the chunk, h]: 1 where it is kept, else 0. */
function keptTokens({ problem, chosen }: DeltaSettings, t: number): Float32Array {
  const { b, n, h, chunk, chunks } = problem;
  const length = Math.min(chunk, n - t * chunk);
  return Float32Array.from({ length: b * length * h }, (_, at) =>
    chosen[(Math.floor(at / (length * h)) * chunks + t) * h + (at % h)] ? 0 : 1,
  );
}

/** [c, b, h]: by what the state is multiplied over a chunk that writes nothing. */
function decaysOf(g: Tensor, { problem, forget }: DeltaSettings): Float32Array {
  const { b, n, h, chunk, chunks } = problem;
  const logs = new Float64Array(chunks * b * h);
  if (forget) {
    g.read().forEach((value, at) => {
      const [batch, token, head] = [Math.floor(at / (n * h)), Math.floor(at / h) % n, at % h];
      const place = (Math.floor(token / chunk) * b + batch) * h + head;
      logs[place] = (logs[place] as number) + Number(value);
    });
  }
  return Float32Array.from(logs, Math.exp);
}

/** Whether any head of any batch does not keep the chunk. */
function isMixed({ problem, chosen }: DeltaSettings, t: number): boolean {
  const { b, h, chunks } = problem;
  return Array.from({ length: b }, (_, batch) => (batch * chunks + t) * h).some((first) =>
    chosen.subarray(first, first + h).includes(1),
  );
}

/** Views of the tokens of one chunk. */
function chunkOf<T extends object>(tokens: T, { n, chunk }: Problem, t: number): Record<keyof T, Tensor> {
  const parts: Record<string, Tensor> = {};
  for (const [name, x] of Object.entries<Tensor>(tokens as Record<string, Tensor>))
    parts[name] = x.slice(1, t * chunk, Math.min(n, (t + 1) * chunk));
  return parts as Record<keyof T, Tensor>;
}

/** The control of one of `count` parts, which come after the share `done` of the work. */
function partOf({ signal, onProgress }: Control, index: number, count: number, done = 0): Control {
  return {
    signal,
    onProgress: onProgress && ((share) => onProgress(done + ((1 - done) * (index + share)) / count)),
  };
}
