/** Linear attention and its gradients in float64, row by row as the recurrence says. */
import { type HostTensor, toFloat64 } from '../../tensor/host';
import { add, at, rowOf, zeros } from '../../tensor/wide';

export interface LinearInputs {
  /** [b,n,h,d], [b,m,g,d], [b,m,g,e]; n = m if causal. */
  readonly q: HostTensor;
  readonly k: HostTensor;
  readonly v: HostTensor;
  /** The state before the first row [b,h,d,e] and the sum of keys [b,h,d]; default: zeros. */
  readonly state?: HostTensor | undefined;
  readonly keySum?: HostTensor | undefined;
  readonly causal: boolean;
  /** For each head; 1 where not causal. */
  readonly decay: readonly number[];
  /** Added to the denominators; undefined for none. */
  readonly epsilon?: number | undefined;
}

type Result<Names extends string> = Record<Names, HostTensor<'f64'>>;

/**
 * S_i = decay S_(i-1) + k_i^T v_i, out_i = q_i S_i; not causal: S with all keys. With an epsilon the sum of keys goes
 * along, z_i = decay z_(i-1) + k_i, and out_i is divided by q_i z_i + epsilon; else keySum and denominator are zeros.
 */
export function linearAttention(inputs: LinearInputs): Result<'out' | 'state' | 'keySum' | 'denominator'> {
  const { b, n, h, d, e } = extentsOf(inputs);
  const [out, denominator] = [zeros([b, n, h, e]), zeros([b, n, h])];
  const [state, keySum] = [zeros([b, h, d, e]), zeros([b, h, d])];
  for (const head of headsOf(inputs)) {
    const outputs = (i: number) => {
      const row = head.outputs(i);
      out.data.set(row.out, head.queryRow(i) * e);
      denominator.data[head.queryRow(i)] = row.denominator;
    };
    if (inputs.causal) {
      for (let i = 0; i < n; i++) {
        head.absorb(i);
        outputs(i);
      }
    } else {
      head.absorbAll();
      for (let i = 0; i < n; i++) outputs(i);
    }
    state.data.set(head.state, head.place * d * e);
    keySum.data.set(head.keySum, head.place * d);
  }
  return { out, state, keySum, denominator };
}

/** Gradients of a loss with respect to q, k, v and the initial state, from those by out and by the last state. */
export function linearAttentionBackward({
  gradOut,
  gradState,
  gradKeySum,
  ...inputs
}: LinearInputs & {
  readonly gradOut: HostTensor;
  readonly gradState?: HostTensor | undefined;
  readonly gradKeySum?: HostTensor | undefined;
}): Result<'gradQ' | 'gradK' | 'gradV' | 'gradState' | 'gradKeySum'> {
  const { b, n, m, h, d, e } = extentsOf(inputs);
  const [gradQ, gradK, gradV] = [zeros(inputs.q.shape), zeros(inputs.k.shape), zeros(inputs.v.shape)];
  const [byState, gradSum] = [zeros([b, h, d, e]), zeros([b, h, d])];
  const byOut = toFloat64(gradOut);
  for (const head of headsOf(inputs)) {
    const G = partOf(gradState, head.place, d * e);
    const z = partOf(gradKeySum, head.place, d);
    const rows: { numerators: number[]; denominator: number }[] = [];

    const queryGradient = (i: number) => {
      const { out, denominator } = head.outputs(i);
      const grad = rowOf(byOut, head.queryRow(i), e);
      const divisor = head.normalised ? denominator : 1;
      const numerators = Array.from(grad, (x) => x / divisor);
      const gradDenominator = head.normalised ? -numerators.reduce((sum, x, c) => sum + x * at(out, c), 0) : 0;
      rows[i] = { numerators, denominator: gradDenominator };
      for (let r = 0; r < d; r++) {
        let sum = gradDenominator * at(head.keySum, r);
        for (let c = 0; c < e; c++) sum += at(numerators, c) * at(head.state, r * e + c);
        gradQ.data[head.queryRow(i) * d + r] = sum;
      }
    };
    const collect = (i: number) => {
      const { numerators, denominator } = rows[i] as (typeof rows)[number];
      for (let r = 0; r < d; r++) {
        const query = head.q(i, r);
        for (let c = 0; c < e; c++) add(G, r * e + c, query * at(numerators, c));
        add(z, r, query * denominator);
      }
    };
    const keyGradient = (j: number) => {
      for (let r = 0; r < d; r++) {
        add(gradK.data, head.keyRow(j) * d + r, at(z, r));
        for (let c = 0; c < e; c++) {
          add(gradK.data, head.keyRow(j) * d + r, at(G, r * e + c) * head.v(j, c));
          add(gradV.data, head.keyRow(j) * e + c, at(G, r * e + c) * head.k(j, r));
        }
      }
    };

    if (inputs.causal) {
      for (let i = 0; i < n; i++) {
        head.absorb(i);
        queryGradient(i);
      }
      for (let i = n - 1; i >= 0; i--) {
        collect(i);
        keyGradient(i);
        scale(G, head.decay);
        scale(z, head.decay);
      }
    } else {
      head.absorbAll();
      for (let i = 0; i < n; i++) {
        queryGradient(i);
        collect(i);
      }
      for (let j = 0; j < m; j++) keyGradient(j);
    }
    byState.data.set(G, head.place * d * e);
    gradSum.data.set(z, head.place * d);
  }
  return { gradQ, gradK, gradV, gradState: byState, gradKeySum: gradSum };
}

function extentsOf({ q, v }: LinearInputs) {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g, e] = v.shape as [number, number, number, number];
  return { b, n, m, h, g, d, e };
}

/** Each head of each batch, with its state, which `absorb` moves on. */
function* headsOf(inputs: LinearInputs) {
  const { b, n, m, h, g, d, e } = extentsOf(inputs);
  const [queries, keys, values] = [toFloat64(inputs.q), toFloat64(inputs.k), toFloat64(inputs.v)];
  const { epsilon } = inputs;
  for (let place = 0; place < b * h; place++) {
    const batch = Math.floor(place / h);
    const group = Math.floor(((place % h) * g) / h);
    const decay = inputs.decay[place % h] as number;
    const state = partOf(inputs.state, place, d * e);
    const keySum = partOf(inputs.keySum, place, d);
    const queryRow = (i: number) => (batch * n + i) * h + (place % h);
    const keyRow = (j: number) => (batch * m + j) * g + group;
    const q = (i: number, r: number) => at(queries, queryRow(i) * d + r);
    const k = (j: number, r: number) => at(keys, keyRow(j) * d + r);
    const v = (j: number, c: number) => at(values, keyRow(j) * e + c);
    const absorb = (j: number) => {
      scale(state, decay);
      scale(keySum, decay);
      for (let r = 0; r < d; r++) {
        add(keySum, r, k(j, r));
        for (let c = 0; c < e; c++) add(state, r * e + c, k(j, r) * v(j, c));
      }
    };
    const absorbAll = () => {
      for (let j = 0; j < m; j++) absorb(j);
    };
    const outputs = (i: number) => {
      const out = new Float64Array(e);
      let denominator = epsilon ?? 0;
      for (let r = 0; r < d; r++) {
        if (epsilon !== undefined) denominator += q(i, r) * at(keySum, r);
        for (let c = 0; c < e; c++) add(out, c, q(i, r) * at(state, r * e + c));
      }
      if (epsilon === undefined) return { out, denominator };
      return { out: out.map((x) => x / denominator), denominator };
    };
    const normalised = epsilon !== undefined;
    yield { place, decay, normalised, state, keySum, queryRow, keyRow, q, k, v, absorb, absorbAll, outputs };
  }
}

/** A copy of one head's numbers; zeros where there are none. */
function partOf(x: HostTensor | undefined, place: number, size: number): Float64Array {
  return x ? toFloat64(x).slice(place * size, (place + 1) * size) : new Float64Array(size);
}

function scale(x: Float64Array, factor: number): void {
  for (let index = 0; index < x.length; index++) x[index] = at(x, index) * factor;
}
