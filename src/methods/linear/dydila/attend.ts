/** The forward and the backward pass of `dydila` on ops. */

import { concat } from '../../../ops/copy';
import { linearAttention, linearAttentionBackward } from '../../../ops/linear-attention';
import { add, multiply, reciprocal, relu, step, subtract } from '../../../ops/map';
import { matmul } from '../../../ops/matmul';
import { sum } from '../../../ops/reduce';
import { focus, focusBackward, route, routeBackward } from '../../../ops/routing';
import type { Control } from '../../../runtime/backend';
import type { Tensor } from '../../../tensor/tensor';
import type { DydilaInputs, DydilaParams } from './reference';

type Inputs = DydilaInputs<Tensor>;

/** One number of a bank for each row of x [..., c], picked by logits x R where there is a router. */
interface Choice {
  /** [..., 1]. */
  readonly picked: Tensor;
  readonly routed?: { readonly logits: Tensor; readonly router: Tensor };
  readonly bank?: Tensor;
}

interface Kernel {
  readonly x: Tensor;
  readonly choice: Choice;
  /** phi(x). */
  readonly phi: Tensor;
}

interface Side {
  readonly kernel: Kernel;
  readonly other?: { readonly kernel: Kernel; readonly choice: Choice };
  /** phi less its share of the redundant one. */
  readonly difference: Tensor;
}

export function forward(inputs: Inputs, params: DydilaParams, control: Control): Tensor {
  return inputs.q.runtime.scope(() => {
    const pass = new Pass(inputs, params);
    const { q, k } = pass.sides();
    const scaled = pass.scaled(q.difference);
    const { out } = linearAttention(scaled, k.difference, inputs.v, control);
    if (params.normalise === 'none') return out;
    return multiply(out, pass.totals(scaled, k.difference, control).factor);
  });
}

export function backward(
  inputs: Inputs,
  gradOut: Tensor,
  params: DydilaParams,
  control: Control,
): Record<string, Tensor> {
  return gradOut.runtime.scope(() => {
    const pass = new Pass(inputs, params);
    const sides = pass.sides();
    const scaled = pass.scaled(sides.q.difference);
    const grads = pass.productGradients(scaled, sides.k.difference, gradOut, control);
    const byQ = pass.differenceGradients(sides.q, pass.scaled(grads.gradQ));
    const byK = pass.differenceGradients(sides.k, grads.gradK);
    const kernels = [byQ.kernel, byK.kernel, byQ.other, byK.other].flatMap((kernel) => kernel ?? []);
    const results: Record<string, Tensor> = { q: byQ.kernel.x, k: byK.kernel.x, v: grads.gradV };
    if (byQ.other && byK.other) Object.assign(results, { q_redundant: byQ.other.x, k_redundant: byK.other.x });
    const { gamma, gamma_router: gammaRouter, lambda, lambda_router: lambdaRouter } = inputs;
    const stacked = (parts: readonly ChoiceGradients[], name: 'bank' | 'router', like: Tensor) =>
      joined(
        parts.map((part) => part[name] as Tensor),
        like.shape,
      );
    if (gamma) results.gamma = stacked(kernels, 'bank', gamma);
    if (gammaRouter) results.gamma_router = stacked(kernels, 'router', gammaRouter);
    if (lambda) results.lambda = add(byQ.choice.bank as Tensor, byK.choice.bank as Tensor);
    if (lambdaRouter) results.lambda_router = stacked([byQ.choice, byK.choice], 'router', lambdaRouter);
    return results;
  });
}

/** Gradients with respect to the bank and the router of a choice, where there are some. */
interface ChoiceGradients {
  readonly bank?: Tensor;
  readonly router?: Tensor;
}

type KernelGradients = ChoiceGradients & { readonly x: Tensor };

interface SideGradients {
  readonly kernel: KernelGradients;
  readonly other?: KernelGradients;
  readonly choice: ChoiceGradients;
}

class Pass {
  constructor(
    readonly inputs: Inputs,
    readonly params: DydilaParams,
  ) {}

  sides(): Record<'q' | 'k', Side> {
    const { q, k, q_redundant: q2, k_redundant: k2 } = this.inputs;
    return { q: this.side(0, q, q2), k: this.side(1, k, k2) };
  }

  /** Times the factor on the scores; by default 1 / m. */
  scaled(x: Tensor): Tensor {
    return multiply(x, this.constant(this.params.scale ?? 1 / (this.inputs.k.shape[1] as number)));
  }

  /** For each query the sum of its weights, and 1 over the larger of its magnitude and epsilon. */
  totals(q: Tensor, k: Tensor, control: Control) {
    const [b, m, g] = k.shape as [number, number, number];
    const ones = k.runtime.tensor(new Float32Array(b * m * g).fill(1), [b, m, g, 1]);
    const total = linearAttention(q, k, ones, control).out;
    const opposite = this.negated(total);
    const magnitude = add(relu(total), relu(opposite));
    const least = this.constant(this.params.epsilon);
    const above = subtract(magnitude, least);
    const factor = reciprocal(add(relu(above), least));
    return { ones, total, opposite, above, factor };
  }

  /** Gradients with respect to the differences, scaled, and by the values. */
  productGradients(
    q: Tensor,
    k: Tensor,
    gradOut: Tensor,
    control: Control,
  ): Record<'gradQ' | 'gradK' | 'gradV', Tensor> {
    const { v } = this.inputs;
    if (this.params.normalise === 'none') {
      return linearAttentionBackward(q, k, v, { gradOut }, control);
    }
    const { ones, total, opposite, above, factor } = this.totals(q, k, control);
    const sums = linearAttention(q, k, v, control).out;
    const gradSums = multiply(gradOut, factor);
    const gradFactor = sum(multiply(gradOut, sums), { axes: [-1], keepDims: true });
    const square = multiply(factor, factor);
    const slope = multiply(square, step(above));
    // The derivative of a magnitude is its sign; that of an inverse is below 0.
    const sign = subtract(step(opposite), step(total));
    const gradTotal = multiply(gradFactor, multiply(slope, sign));
    const main = linearAttentionBackward(q, k, v, { gradOut: gradSums }, control);
    const beside = linearAttentionBackward(q, k, ones, { gradOut: gradTotal }, control);
    return {
      gradQ: add(main.gradQ, beside.gradQ),
      gradK: add(main.gradK, beside.gradK),
      gradV: main.gradV,
    };
  }

  side(index: number, x: Tensor, redundant: Tensor | undefined): Side {
    const kernel = this.kernel(index, x);
    if (!redundant) return { kernel, difference: kernel.phi };
    const other = this.kernel(index + 2, redundant);
    const { lambda, lambda_router: routers } = this.inputs;
    const router = routers && this.partOf(routers, index);
    // Of both rows side by side: the sum of the products with the router's halves.
    const logits = router && add(...this.products([kernel.phi, other.phi], router));
    const choice = this.choice(x, lambda, this.params.lambda, logits && router && { logits, router });
    const share = multiply(other.phi, choice.picked);
    const difference = subtract(kernel.phi, share);
    return { kernel, other: { kernel: other, choice }, difference };
  }

  kernel(index: number, x: Tensor): Kernel {
    const { gamma, gamma_router: routers } = this.inputs;
    const bank = gamma && this.partOf(gamma, index);
    const router = routers && this.partOf(routers, index);
    const routed = router && { router, logits: matmul(x, router) };
    const choice = this.choice(x, bank, this.params.gamma, routed);
    return { x, choice, phi: focus(x, choice.picked) };
  }

  choice(x: Tensor, bank: Tensor | undefined, fixed: number, routed: Choice['routed']): Choice {
    if (bank && routed) return { bank, routed, picked: route(routed.logits, bank) };
    const shape = [...x.shape.slice(0, -1), 1];
    const ones = x.runtime.tensor(new Float32Array(x.size / (x.shape.at(-1) as number)).fill(1), shape);
    return {
      ...(bank && { bank }),
      picked: multiply(ones, bank ?? this.constant(fixed)),
    };
  }

  differenceGradients({ kernel, other }: Side, grad: Tensor): SideGradients {
    if (!other) return { kernel: this.kernelGradients(kernel, grad), choice: {} };
    const product = multiply(grad, other.kernel.phi);
    const gradPicked = this.negated(sum(product, { axes: [-1], keepDims: true }));
    let byPhi = grad;
    let gradOther = this.negated(multiply(grad, other.choice.picked));
    const { logits, ...choice } = this.choiceGradients(other.choice, gradPicked);
    const { routed } = other.choice;
    if (!routed || !logits) {
      return {
        kernel: this.kernelGradients(kernel, byPhi),
        other: this.kernelGradients(other.kernel, gradOther),
        choice,
      };
    }
    const rows = [kernel.phi, other.kernel.phi];
    const [first, second] = this.inputGradients(routed.router, logits, rows.length);
    byPhi = add(byPhi, first as Tensor);
    gradOther = add(gradOther, second as Tensor);
    const router = joined(
      [this.routerGradient(kernel.phi, logits), this.routerGradient(other.kernel.phi, logits)],
      routed.router.shape,
    );
    return {
      kernel: this.kernelGradients(kernel, byPhi),
      other: this.kernelGradients(other.kernel, gradOther),
      choice: { ...choice, router },
    };
  }

  kernelGradients({ x, choice }: Kernel, byPhi: Tensor): KernelGradients {
    const { gradX, gradExponents } = focusBackward(x, choice.picked, byPhi);
    const { logits, ...grads } = this.choiceGradients(choice, gradExponents);
    if (!choice.routed || !logits) return { x: gradX, ...grads };
    const [byRouter] = this.inputGradients(choice.routed.router, logits, 1);
    return {
      ...grads,
      x: add(gradX, byRouter as Tensor),
      router: this.routerGradient(x, logits),
    };
  }

  choiceGradients({ bank, routed }: Choice, gradPicked: Tensor): { readonly bank?: Tensor; readonly logits?: Tensor } {
    if (!bank) return {};
    if (routed) {
      const { gradBank, gradLogits } = routeBackward(routed.logits, bank, gradPicked);
      return { bank: gradBank, logits: gradLogits };
    }
    return { bank: sum(gradPicked).reshape([1]) };
  }

  /** Each of the rows times its part of the router. */
  products(rows: readonly [Tensor, Tensor], router: Tensor): [Tensor, Tensor] {
    const d = rows[0].shape.at(-1) as number;
    const half = (at: number) => router.slice(0, at * d, (at + 1) * d);
    return [matmul(rows[0], half(0)), matmul(rows[1], half(1))];
  }

  /** The gradients with respect to what a router saw, in parts. */
  inputGradients(router: Tensor, gradLogits: Tensor, parts: number): Tensor[] {
    const size = (router.shape[0] as number) / parts;
    const grads: Tensor[] = [];
    for (let part = 0; part < parts; part++) {
      const rows = router.slice(0, part * size, (part + 1) * size);
      grads.push(matmul(gradLogits, rows.permute([1, 0])));
    }
    return grads;
  }

  routerGradient(x: Tensor, gradLogits: Tensor): Tensor {
    const rows = x.reshape([-1, x.shape.at(-1) as number]);
    const grads = gradLogits.reshape([-1, gradLogits.shape.at(-1) as number]);
    return matmul(rows.permute([1, 0]), grads);
  }

  /** What lies at an index of the first axis. */
  partOf(x: Tensor, index: number): Tensor {
    const slice = x.slice(0, index, index + 1);
    return slice.reshape(x.shape.slice(1));
  }

  negated(x: Tensor): Tensor {
    return multiply(x, this.constant(-1));
  }

  constant(value: number): Tensor<'f32'> {
    return this.inputs.q.runtime.tensor([value], []);
  }
}

/** Small tensors, one after the other. */
function joined(parts: readonly Tensor[], shape: readonly number[]): Tensor {
  return concat(parts.map((part) => part.reshape([-1])) as Tensor<'f32'>[], 0).reshape(shape);
}
