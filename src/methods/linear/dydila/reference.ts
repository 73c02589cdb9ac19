/**
 * What `dydila` computes, row by row and pair by pair in float64. With rows of q, k, q' and k':
 * phi(z) = relu(z)^g |relu(z)| / |relu(z)^g|, where g is a number of the kernel's bank, at least 1;
 * a = phi(q) - l phi(q'), c = phi(k) - l phi(k'), where l is a number of the bank lambda;
 * out_i = sum_j w_ij v_j for w_ij = scale (a_i . c_j), over max(|sum_j w_ij|, epsilon) if normalised.
 * A router picks from a bank the entry at the largest of its logits, z R for g and [phi(z), phi(z')] R for l. Gradients
 * go straight through the choice: by the logits as if the entry was the bank's mean under their softmax.
 */
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { add, at, pairSums, tensor } from '../../reference';

export interface DydilaParams {
  readonly gamma: number;
  readonly lambda: number;
  readonly scale?: number | undefined;
  /** Whether rows are divided by the magnitude of the sum of their weights, or by epsilon where that is less. */
  readonly normalise: 'none' | 'sum';
  readonly epsilon: number;
}

export interface DydilaInputs<T> {
  /** [b, n, h, d], [b, m, g, d] and [b, m, g, e]. */
  readonly q: T;
  readonly k: T;
  readonly v: T;
  /** In the shapes of q and k. */
  readonly q_redundant?: T;
  readonly k_redundant?: T;
  /** [kernels, u], for q, k and, if there are, q_redundant and k_redundant. */
  readonly gamma?: T;
  /** [kernels, d, u]. */
  readonly gamma_router?: T;
  /** [s]. */
  readonly lambda?: T;
  /** [2, 2 d, s], for queries and keys. */
  readonly lambda_router?: T;
}

type Numbers = Float64Array;
type Results = Record<string, HostTensor<'f64'>>;

export function reference(inputs: DydilaInputs<HostTensor>, params: DydilaParams, gradOut?: HostTensor): Results {
  const { q, k, v, q_redundant: q2, k_redundant: k2 } = inputs;
  const d = q.shape[3] as number;
  const scale = params.scale ?? 1 / (v.shape[1] as number);

  const kernels = [q, k, q2, k2].flatMap((z, index) => (z ? [new Kernel(toFloat64(z), d, index, inputs, params)] : []));
  const [queries, keys] = [0, 1].map((side) => {
    return new Difference(kernels[side] as Kernel, kernels[side + 2], d, side, inputs, params);
  }) as [Difference, Difference];

  const isDivided = params.normalise === 'sum';
  const divide = (sum: number) => {
    if (!isDivided) return [1, 0] as const;
    const size = Math.abs(sum);
    return [Math.max(size, params.epsilon), size > params.epsilon ? Math.sign(sum) : 0] as const;
  };
  const [a, c] = [tensor(queries.rows, q.shape), tensor(keys.rows, k.shape)];
  const { out, gradQ, gradK, gradV } = pairSums({ q: a, k: c, v, scale, divide }, gradOut);
  const results: Results = { out };
  if (!gradOut) return results;
  queries.backward(gradQ.data);
  keys.backward(gradK.data);
  for (const kernel of kernels) kernel.backward();
  results.grad_v = gradV;
  for (const [index, name] of ['q', 'k', 'q_redundant', 'k_redundant'].entries()) {
    const input = [q, k, q2, k2][index];
    if (input) results[`grad_${name}`] = tensor((kernels[index] as Kernel).gradX, input.shape);
  }
  const { gamma, gamma_router: gammaRouter, lambda, lambda_router: lambdaRouter } = inputs;
  const joined = (parts: readonly Numbers[]) => Float64Array.from(parts.flatMap((part) => [...part]));
  if (gamma) results.grad_gamma = tensor(joined(kernels.map(({ choice }) => choice.gradBank)), gamma.shape);
  if (gammaRouter)
    results.grad_gamma_router = tensor(joined(kernels.map(({ choice }) => choice.gradRouter)), gammaRouter.shape);
  if (lambda) {
    const [first, second] = [queries.choice.gradBank, keys.choice.gradBank];
    results.grad_lambda = tensor(
      first.map((value, u) => value + at(second, u)),
      lambda.shape,
    );
  }
  if (lambdaRouter)
    results.grad_lambda_router = tensor(
      joined([queries.choice.gradRouter, keys.choice.gradRouter]),
      lambdaRouter.shape,
    );
  return results;
}

/** The entry of a bank that each row takes, and gradients that follow from the one with respect to it. */
class Choice {
  readonly gradBank: Numbers;
  readonly gradRouter: Numbers;

  /** `router` is [width, bank]; without one all rows take the first entry. */
  constructor(
    readonly bank: Numbers,
    readonly router: Numbers | undefined,
  ) {
    this.gradBank = new Float64Array(bank.length);
    this.gradRouter = new Float64Array(router?.length ?? 0);
  }

  logits(input: Numbers): number[] {
    return Array.from(this.bank, (_, u) =>
      input.reduce((sum, x, c) => sum + x * at(this.router as Numbers, c * this.bank.length + u), 0),
    );
  }

  pick(input: Numbers): number {
    if (!this.router) return 0;
    const logits = this.logits(input);
    return logits.indexOf(Math.max(...logits));
  }

  /** Returns the gradient with respect to the router's input. */
  backward(input: Numbers, byEntry: number): Numbers {
    add(this.gradBank, this.pick(input), byEntry);
    const gradInput = new Float64Array(input.length);
    if (!this.router) return gradInput;
    const logits = this.logits(input);
    const powers = logits.map((logit) => Math.exp(logit - Math.max(...logits)));
    const sum = powers.reduce((total, power) => total + power, 0);
    const mean = powers.reduce((total, power, u) => total + (power / sum) * at(this.bank, u), 0);
    powers.forEach((power, u) => {
      const gradLogit = (power / sum) * (at(this.bank, u) - mean) * byEntry;
      input.forEach((x, c) => {
        add(this.gradRouter, c * this.bank.length + u, x * gradLogit);
        add(gradInput, c, at(this.router as Numbers, c * this.bank.length + u) * gradLogit);
      });
    });
    return gradInput;
  }
}

/** phi of the rows of one tensor. */
class Kernel {
  readonly rows: Numbers;
  readonly gradient: Numbers;
  readonly gradX: Numbers;
  readonly choice: Choice;

  constructor(
    readonly x: Numbers,
    readonly d: number,
    index: number,
    { gamma, gamma_router: router }: DydilaInputs<HostTensor>,
    params: DydilaParams,
  ) {
    const bank = gamma ? part(gamma, index) : Float64Array.of(params.gamma);
    this.choice = new Choice(bank, router && part(router, index));
    this.rows = new Float64Array(x.length);
    [this.gradient, this.gradX] = [new Float64Array(x.length), new Float64Array(x.length)];
    for (let first = 0; first < x.length; first += d) {
      const row = x.subarray(first, first + d);
      this.rows.set(focused(row, at(bank, this.choice.pick(row))), first);
    }
  }

  backward(): void {
    const { x, d, choice } = this;
    for (let first = 0; first < x.length; first += d) {
      const row = x.subarray(first, first + d);
      const exponent = at(choice.bank, choice.pick(row));
      const [byRow, gradExponent] = focusedGradient(row, exponent, this.gradient.subarray(first, first + d));
      const byRouter = choice.backward(row, gradExponent);
      byRow.forEach((value, c) => {
        add(this.gradX, first + c, value + at(byRouter, c));
      });
    }
  }
}

/** The rows of a kernel less a share of those of another. */
class Difference {
  readonly rows: Numbers;
  readonly choice: Choice;

  constructor(
    readonly kernel: Kernel,
    readonly other: Kernel | undefined,
    readonly d: number,
    side: number,
    { lambda, lambda_router: router }: DydilaInputs<HostTensor>,
    params: DydilaParams,
  ) {
    const bank = lambda ? toFloat64(lambda) : Float64Array.of(params.lambda);
    this.choice = new Choice(bank, router && part(router, side));
    this.rows = kernel.rows.slice();
    for (let first = 0; other && first < this.rows.length; first += d) {
      const factor = at(bank, this.choice.pick(this.pair(first)));
      for (let c = first; c < first + d; c++) add(this.rows, c, -factor * at(other.rows, c));
    }
  }

  /** The router's input: a row and its redundant one. */
  pair(first: number): Numbers {
    const { kernel, other, d } = this;
    const rows = [kernel.rows, (other as Kernel).rows].flatMap((x) => [...x.subarray(first, first + d)]);
    return Float64Array.from(rows);
  }

  /** From the gradient with respect to the rows. */
  backward(gradient: Numbers): void {
    const { kernel, other, d, choice } = this;
    for (let first = 0; first < gradient.length; first += d) {
      for (let c = first; c < first + d; c++) add(kernel.gradient, c, at(gradient, c));
      if (!other) continue;
      const pair = this.pair(first);
      const factor = at(choice.bank, choice.pick(pair));
      let gradFactor = 0;
      for (let c = first; c < first + d; c++) {
        gradFactor -= at(gradient, c) * at(other.rows, c);
        add(other.gradient, c, -factor * at(gradient, c));
      }
      const byPair = choice.backward(pair, gradFactor);
      for (let c = 0; c < d; c++) {
        add(kernel.gradient, first + c, at(byPair, c));
        add(other.gradient, first + c, at(byPair, d + c));
      }
    }
  }
}

/** phi of one row. */
export function focused(row: Numbers, given: number): Numbers {
  const exponent = Math.max(1, given);
  const y = row.map((value) => Math.max(0, value));
  const largest = Math.max(...y);
  if (largest === 0) return y;
  // Powers of shares of the largest do not overflow, and the factor cancels.
  const powers = y.map((value) => (value / largest) ** exponent);
  const factor = length(y) / length(powers);
  return powers.map((power) => power * factor);
}

/**
 * With t = y^g and u = t / |t|, phi = |y| u: d phi_i / d y_j = u_i y_j / |y| + |y| (delta_ij - u_i u_j) g u_j / y_j, and
 * d phi_i / d g = |y| u_i (log y_i - sum_j u_j^2 log y_j).
 */
function focusedGradient(row: Numbers, given: number, by: Numbers): [byRow: Numbers, gradExponent: number] {
  const y = row.map((value) => Math.max(0, value));
  const size = length(y);
  if (size === 0) return [new Float64Array(row.length), 0];
  const exponent = Math.max(1, given);
  const u = focused(row, given).map((value) => value / size);
  const along = u.reduce((sum, value, c) => sum + value * at(by, c), 0);
  const log = (c: number) => (at(y, c) > 0 ? Math.log(at(y, c)) : 0);
  const mean = u.reduce((sum, value, c) => sum + value ** 2 * log(c), 0);
  const byRow = y.map((value, c) => {
    if (value === 0) return 0;
    return (along * value) / size + (size * exponent * at(u, c) * (at(by, c) - at(u, c) * along)) / value;
  });
  if (given < 1) return [byRow, 0];
  return [byRow, u.reduce((sum, value, c) => sum + at(by, c) * size * value * (log(c) - mean), 0)];
}

function length(x: Numbers): number {
  return Math.sqrt(x.reduce((sum, value) => sum + value ** 2, 0));
}

/** The numbers at an index of the first axis. */
function part(x: HostTensor, index: number): Numbers {
  const size = x.data.length / (x.shape[0] as number);
  return toFloat64(x).subarray(index * size, (index + 1) * size);
}
