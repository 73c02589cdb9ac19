/**
 * The delta rule over chunks of which some are not kept. All tokens of a chunk start from the state before it; the state
 * behind it is that of a second pass in which the tokens of chunks that go to softmax attention write nothing.
 */
import { add, multiply, subtract } from '../../../ops/elementwise';
import { gatedDeltaRule, gatedDeltaRuleBackward } from '../../../ops/gated-delta-rule';
import { sumRows } from '../../../ops/rows';
import type { Control } from '../../../runtime/backend';
import { Temporaries } from '../../../tensor/temporaries';
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
export async function deltaForward(
  inputs: DeltaInputs,
  settings: DeltaSettings,
  control: Control = {},
): Promise<Tensor<'f32'>> {
  const { problem, scale } = settings;
  using out = new ChunkRows(inputs.q.runtime, problem, [problem.h, problem.e]);
  using temporaries = new Temporaries();
  const keeping = await keptGates(inputs, settings, temporaries);
  let before: Tensor | undefined;
  for (let t = 0; t < problem.chunks; t++) {
    using views = new Temporaries();
    using place = out.at(t);
    const { q, k, v, g, beta, keptG, keptBeta } = await chunkOf({ ...inputs, ...keeping }, problem, t, views);
    const initialState = before;
    const part = partOf(control, t, problem.chunks);
    const local = await gatedDeltaRule(q, k, v, g, beta, { scale, initialState, out: place, ...part });
    if (!isMixed(settings, t)) before = await temporaries.own(local.state);
    else {
      local.state.dispose();
      const { out: unread, state } = await gatedDeltaRule(k, k, v, keptG, keptBeta, { initialState, ...part });
      unread.dispose();
      before = await temporaries.own(state);
    }
    if (initialState) initialState.dispose();
  }
  return await out.inOrder();
}

export interface DeltaGradients extends DeltaInputs {
  /** [b, c, h]: by the choices, of the chunks that are kept; of all, if the counterfactual ones are wanted. */
  readonly choices: Float64Array;
}

/** Gradients by the inputs and by the choices, from that by the result. */
export async function deltaBackward(
  inputs: DeltaInputs,
  gradOut: Tensor,
  settings: DeltaSettings & { readonly counterfactual: boolean },
  control: Control = {},
): Promise<DeltaGradients> {
  const { problem, scale, counterfactual } = settings;
  const { b, h, d, e, chunks } = problem;
  const { runtime } = inputs.q;
  using temporaries = new Temporaries();
  const keeping = await keptGates(inputs, settings, temporaries);
  const all = { ...inputs, ...keeping, gradOut };
  const states = await statesBefore(all, problem, temporaries, {
    signal: control.signal,
    onProgress: (share) => control.onProgress?.(share / 3),
  });
  using byQ = new ChunkRows(runtime, problem, [h, d]);
  using byK = new ChunkRows(runtime, problem, [h, d]);
  using byV = new ChunkRows(runtime, problem, [h, e]);
  using byG = new ChunkRows(runtime, problem, [h]);
  using byBeta = new ChunkRows(runtime, problem, [h]);
  using nothing = runtime.tensor([0], []);
  const decays = await decaysOf(inputs.g, settings);
  const choices = new Float64Array(b * chunks * h);
  let byNext: Tensor | undefined;
  for (let t = chunks - 1; t >= 0; t--) {
    using views = new Temporaries();
    const part = partOf(control, chunks - 1 - t, chunks, 1 / 3);
    const { q, k, v, g, beta, keptG, keptBeta, gradOut: byOut } = await chunkOf(all, problem, t, views);
    const initialState = states[t] as Tensor;
    const mixed = isMixed(settings, t);
    const local = await views.ownAll(
      gatedDeltaRuleBackward(
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
      ),
    );
    const write = async (rows: ChunkRows, gradient: Tensor, other: Tensor) => {
      using out = rows.at(t);
      await add(gradient, other, { out });
    };
    let byState = local.gradInitialState as Tensor;
    await write(byQ, local.gradQ, nothing);
    if (mixed && byNext) {
      const zeros = await views.own(runtime.tensor(new Float32Array(byOut.size), byOut.shape));
      const carry = await views.ownAll(
        gatedDeltaRuleBackward(
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
        ),
      );
      const factors = await views.own(runtime.tensor(keptTokens(settings, t), g.shape));
      await write(byK, local.gradK, carry.gradK);
      await write(byV, local.gradV, carry.gradV);
      await write(byG, local.gradG, settings.forget ? carry.gradG : await views.own(multiply(carry.gradG, factors)));
      await write(byBeta, local.gradBeta, await views.own(multiply(carry.gradBeta, factors)));
      byState = await views.own(add(byState, carry.gradInitialState as Tensor));
    } else {
      await write(byK, local.gradK, nothing);
      await write(byV, local.gradV, nothing);
      await write(byG, local.gradG, nothing);
      await write(byBeta, local.gradBeta, nothing);
    }
    if (byNext) {
      // Where the chunk is kept, the state behind it is that in which it ends.
      const ends = counterfactual
        ? await views.ownAll(gatedDeltaRule(k, k, v, g, beta, { initialState, ...part }))
        : { state: states[t + 1] as Tensor };
      const slopes = await writesAlong(byNext, ends.state, initialState, decays.subarray(t * b * h, (t + 1) * b * h));
      slopes.forEach((slope, place) => {
        const choice = (Math.floor(place / h) * chunks + t) * h + (place % h);
        if (counterfactual || !settings.chosen[choice]) choices[choice] = slope;
      });
    }
    byNext?.dispose();
    byNext = await temporaries.own(add(byState, nothing));
  }
  const rows = { q: byQ, k: byK, v: byV, g: byG, beta: byBeta };
  const grads = {} as Record<keyof DeltaInputs, Tensor>;
  for (const name of Object.keys(rows) as (keyof DeltaInputs)[])
    grads[name] = await temporaries.own(rows[name].inOrder());
  return { ...temporaries.release(grads), choices };
}

type Gates = Readonly<Record<'keptG' | 'keptBeta', Tensor>>;

/** The states before all chunks. */
async function statesBefore(
  inputs: DeltaInputs & Gates,
  problem: Problem,
  temporaries: Temporaries,
  control: Control,
): Promise<Tensor[]> {
  const { b, h, d, e, chunks } = problem;
  const zeros = new Float32Array(b * h * d * e);
  const states: Tensor[] = [await temporaries.own(inputs.q.runtime.tensor(zeros, [b, h, d, e]))];
  for (let t = 0; t + 1 < chunks; t++) {
    using views = new Temporaries();
    const { k, v, keptG, keptBeta } = await chunkOf(inputs, problem, t, views);
    const options = { initialState: states[t] as Tensor, ...partOf(control, t, chunks) };
    const { out, state } = await gatedDeltaRule(k, k, v, keptG, keptBeta, options);
    out.dispose();
    states.push(await temporaries.own(state));
  }
  return states;
}

/** For each head of each batch the sum of `byNext` times what a chunk writes: end - decay start. */
async function writesAlong(byNext: Tensor, end: Tensor, start: Tensor, decays: Float32Array): Promise<Float32Array> {
  using temporaries = new Temporaries();
  const shape = [decays.length, -1];
  const rows = (x: Tensor) => temporaries.own(x.reshape(shape));
  const factors = await temporaries.own(byNext.runtime.tensor(decays, [decays.length, 1]));
  const decayed = await temporaries.own(multiply(await rows(start), factors));
  const written = await temporaries.own(subtract(await rows(end), decayed));
  const products = await temporaries.own(multiply(written, await rows(byNext)));
  return (await temporaries.own(sumRows(products))).read();
}

/** g and beta of the pass in which chunks that are not kept write nothing. */
async function keptGates({ g, beta }: DeltaInputs, settings: DeltaSettings, temporaries: Temporaries): Promise<Gates> {
  const { b, n, h, chunks, chunk } = settings.problem;
  const kept = Float32Array.from({ length: b * n * h }, (_, at) => {
    const [batch, token, head] = [Math.floor(at / (n * h)), Math.floor(at / h) % n, at % h];
    return settings.chosen[(batch * chunks + Math.floor(token / chunk)) * h + head] ? 0 : 1;
  });
  const factors = await temporaries.own(g.runtime.tensor(kept, [b, n, h]));
  return {
    keptG: settings.forget ? g : await temporaries.own(multiply(g, factors)),
    keptBeta: await temporaries.own(multiply(beta, factors)),
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
async function decaysOf(g: Tensor, { problem, forget }: DeltaSettings): Promise<Float32Array> {
  const { b, n, h, chunk, chunks } = problem;
  const logs = new Float64Array(chunks * b * h);
  if (forget) {
    (await g.read()).forEach((value, at) => {
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
async function chunkOf<T extends object>(
  tokens: T,
  { n, chunk }: Problem,
  t: number,
  views: Temporaries,
): Promise<Record<keyof T, Tensor>> {
  const parts: Record<string, Tensor> = {};
  for (const [name, x] of Object.entries<Tensor>(tokens as Record<string, Tensor>))
    parts[name] = await views.own(x.slice(1, t * chunk, Math.min(n, (t + 1) * chunk)));
  return parts as Record<keyof T, Tensor>;
}

/** The control of one of `count` parts, which come after the share `done` of the work. */
function partOf({ signal, onProgress }: Control, index: number, count: number, done = 0): Control {
  return {
    signal,
    onProgress: onProgress && ((share) => onProgress(done + ((1 - done) * (index + share)) / count)),
  };
}
