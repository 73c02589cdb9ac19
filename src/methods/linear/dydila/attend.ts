/** The forward and the backward pass of `dydila` on ops. */
import { add, multiply, reciprocal, relu, step, subtract } from '../../../ops/elementwise';
import { linearAttention, linearAttentionBackward } from '../../../ops/linear-attention';
import { matmul } from '../../../ops/matmul';
import { focus, focusBackward, route, routeBackward } from '../../../ops/routing';
import { sumRows } from '../../../ops/rows';
import type { Control } from '../../../runtime/backend';
import { Temporaries } from '../../../tensor/temporaries';
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

export async function forward(inputs: Inputs, params: DydilaParams, control: Control): Promise<Tensor> {
  using work = new Work(inputs, params);
  const { q, k } = await work.sides();
  const scaled = await work.scaled(q.difference);
  const sums = await work.product(scaled, k.difference, inputs.v, control);
  if (params.normalise === 'none') return work.release({ sums }).sums;
  const { factor } = await work.totals(scaled, k.difference, control);
  return await multiply(sums, factor);
}

export async function backward(
  inputs: Inputs,
  gradOut: Tensor,
  params: DydilaParams,
  control: Control,
): Promise<Record<string, Tensor>> {
  using work = new Work(inputs, params);
  const sides = await work.sides();
  const scaled = await work.scaled(sides.q.difference);
  const grads = await work.productGradients(scaled, sides.k.difference, gradOut, control);
  const byQ = await work.differenceGradients(sides.q, await work.scaled(grads.gradQ));
  const byK = await work.differenceGradients(sides.k, grads.gradK);
  const kernels = [byQ.kernel, byK.kernel, byQ.other, byK.other].flatMap((kernel) => kernel ?? []);
  const results: Record<string, Tensor> = { q: byQ.kernel.x, k: byK.kernel.x, v: grads.gradV };
  if (byQ.other && byK.other) Object.assign(results, { q_redundant: byQ.other.x, k_redundant: byK.other.x });
  const { gamma, gamma_router: gammaRouter, lambda, lambda_router: lambdaRouter } = inputs;
  if (gamma) results.gamma = await work.stacked(kernels, 'bank', gamma);
  if (gammaRouter) results.gamma_router = await work.stacked(kernels, 'router', gammaRouter);
  if (lambda) results.lambda = await work.own(add(byQ.choice.bank as Tensor, byK.choice.bank as Tensor));
  if (lambdaRouter) results.lambda_router = await work.stacked([byQ.choice, byK.choice], 'router', lambdaRouter);
  return work.release(results);
}

/** Gradients by the bank and the router of a choice, where there are some. */
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

class Work extends Temporaries {
  constructor(
    readonly inputs: Inputs,
    readonly params: DydilaParams,
  ) {
    super();
  }

  async sides(): Promise<Record<'q' | 'k', Side>> {
    const { q, k, q_redundant: q2, k_redundant: k2 } = this.inputs;
    return { q: await this.side(0, q, q2), k: await this.side(1, k, k2) };
  }

  /** Times the factor on the scores; by default 1 / m. */
  async scaled(x: Tensor): Promise<Tensor> {
    return this.own(multiply(x, await this.constant(this.params.scale ?? 1 / (this.inputs.k.shape[1] as number))));
  }

  async product(q: Tensor, k: Tensor, v: Tensor, control: Control): Promise<Tensor> {
    const { out } = await this.ownAll(linearAttention(q, k, v, control));
    return out;
  }

  /** For each query the sum of its weights, and 1 over the larger of its magnitude and epsilon. */
  async totals(q: Tensor, k: Tensor, control: Control) {
    const [b, m, g] = k.shape as [number, number, number];
    const ones = await this.own(k.runtime.tensor(new Float32Array(b * m * g).fill(1), [b, m, g, 1]));
    const total = await this.product(q, k, ones, control);
    const opposite = await this.negated(total);
    const magnitude = await this.own(add(await this.own(relu(total)), await this.own(relu(opposite))));
    const least = await this.constant(this.params.epsilon);
    const above = await this.own(subtract(magnitude, least));
    const factor = await this.own(reciprocal(await this.own(add(await this.own(relu(above)), least))));
    return { ones, total, opposite, above, factor };
  }

  /** Gradients by the differences, scaled, and by the values. */
  async productGradients(
    q: Tensor,
    k: Tensor,
    gradOut: Tensor,
    control: Control,
  ): Promise<Record<'gradQ' | 'gradK' | 'gradV', Tensor>> {
    const { v } = this.inputs;
    if (this.params.normalise === 'none') {
      return this.ownAll(linearAttentionBackward(q, k, v, { gradOut }, control));
    }
    const { ones, total, opposite, above, factor } = await this.totals(q, k, control);
    const sums = await this.product(q, k, v, control);
    const bySums = await this.own(multiply(gradOut, factor));
    const byFactor = await this.own(sumRows(await this.own(multiply(gradOut, sums))));
    const square = await this.own(multiply(factor, factor));
    const slope = await this.own(multiply(square, await this.own(step(above))));
    // The derivative of a magnitude is its sign; that of an inverse is below 0.
    const sign = await this.own(subtract(await this.own(step(opposite)), await this.own(step(total))));
    const byTotal = await this.own(multiply(byFactor, await this.own(multiply(slope, sign))));
    const main = await this.ownAll(linearAttentionBackward(q, k, v, { gradOut: bySums }, control));
    const beside = await this.ownAll(linearAttentionBackward(q, k, ones, { gradOut: byTotal }, control));
    return {
      gradQ: await this.own(add(main.gradQ, beside.gradQ)),
      gradK: await this.own(add(main.gradK, beside.gradK)),
      gradV: main.gradV,
    };
  }

  async side(index: number, x: Tensor, redundant: Tensor | undefined): Promise<Side> {
    const kernel = await this.kernel(index, x);
    if (!redundant) return { kernel, difference: kernel.phi };
    const other = await this.kernel(index + 2, redundant);
    const { lambda, lambda_router: routers } = this.inputs;
    const router = routers && (await this.partOf(routers, index));
    // Of both rows side by side: the sum of the products with the router's halves.
    const logits = router && (await this.own(add(...(await this.products([kernel.phi, other.phi], router)))));
    const choice = await this.choice(x, lambda, this.params.lambda, logits && router && { logits, router });
    const share = await this.own(multiply(other.phi, choice.picked));
    const difference = await this.own(subtract(kernel.phi, share));
    return { kernel, other: { kernel: other, choice }, difference };
  }

  async kernel(index: number, x: Tensor): Promise<Kernel> {
    const { gamma, gamma_router: routers } = this.inputs;
    const bank = gamma && (await this.partOf(gamma, index));
    const router = routers && (await this.partOf(routers, index));
    const routed = router && { router, logits: await this.own(matmul(x, router)) };
    const choice = await this.choice(x, bank, this.params.gamma, routed);
    return { x, choice, phi: await this.own(focus(x, choice.picked)) };
  }

  async choice(x: Tensor, bank: Tensor | undefined, fixed: number, routed: Choice['routed']): Promise<Choice> {
    if (bank && routed) return { bank, routed, picked: await this.own(route(routed.logits, bank)) };
    const shape = [...x.shape.slice(0, -1), 1];
    const ones = await this.own(x.runtime.tensor(new Float32Array(x.size / (x.shape.at(-1) as number)).fill(1), shape));
    return {
      ...(bank && { bank }),
      picked: await this.own(multiply(ones, bank ?? (await this.constant(fixed)))),
    };
  }

  async differenceGradients({ kernel, other }: Side, grad: Tensor): Promise<SideGradients> {
    if (!other) return { kernel: await this.kernelGradients(kernel, grad), choice: {} };
    const product = await this.own(multiply(grad, other.kernel.phi));
    const byPicked = await this.negated(await this.own(sumRows(product)));
    let byPhi = grad;
    let byOther = await this.negated(await this.own(multiply(grad, other.choice.picked)));
    const { logits, ...choice } = await this.choiceGradients(other.choice, byPicked);
    const { routed } = other.choice;
    if (!routed || !logits) {
      return {
        kernel: await this.kernelGradients(kernel, byPhi),
        other: await this.kernelGradients(other.kernel, byOther),
        choice,
      };
    }
    const rows = [kernel.phi, other.kernel.phi];
    const [first, second] = await this.inputGradients(routed.router, logits, rows.length);
    byPhi = await this.own(add(byPhi, first as Tensor));
    byOther = await this.own(add(byOther, second as Tensor));
    const router = await this.joined(
      [await this.routerGradient(kernel.phi, logits), await this.routerGradient(other.kernel.phi, logits)],
      routed.router.shape,
    );
    return {
      kernel: await this.kernelGradients(kernel, byPhi),
      other: await this.kernelGradients(other.kernel, byOther),
      choice: { ...choice, router },
    };
  }

  async kernelGradients({ x, choice }: Kernel, byPhi: Tensor): Promise<KernelGradients> {
    const { gradX, gradExponents } = await this.ownAll(focusBackward(x, choice.picked, byPhi));
    const { logits, ...grads } = await this.choiceGradients(choice, gradExponents);
    if (!choice.routed || !logits) return { x: gradX, ...grads };
    const [byRouter] = await this.inputGradients(choice.routed.router, logits, 1);
    return {
      ...grads,
      x: await this.own(add(gradX, byRouter as Tensor)),
      router: await this.routerGradient(x, logits),
    };
  }

  async choiceGradients(
    { bank, routed }: Choice,
    byPicked: Tensor,
  ): Promise<{ readonly bank?: Tensor; readonly logits?: Tensor }> {
    if (!bank) return {};
    if (routed) {
      const { gradBank, gradLogits } = await this.ownAll(routeBackward(routed.logits, bank, byPicked));
      return { bank: gradBank, logits: gradLogits };
    }
    const all = await this.own(byPicked.reshape([1, byPicked.size]));
    const sum = await this.own(sumRows(all));
    return { bank: await this.own(sum.reshape([1])) };
  }

  /** Each of the rows times its part of the router. */
  async products(rows: readonly [Tensor, Tensor], router: Tensor): Promise<[Tensor, Tensor]> {
    const d = rows[0].shape.at(-1) as number;
    const half = (at: number) => this.own(router.slice(0, at * d, (at + 1) * d));
    return [await this.own(matmul(rows[0], await half(0))), await this.own(matmul(rows[1], await half(1)))];
  }

  /** The gradients by what a router saw, in parts. */
  async inputGradients(router: Tensor, gradLogits: Tensor, parts: number): Promise<Tensor[]> {
    const size = (router.shape[0] as number) / parts;
    const grads: Tensor[] = [];
    for (let part = 0; part < parts; part++) {
      const rows = await this.own(router.slice(0, part * size, (part + 1) * size));
      grads.push(await this.own(matmul(gradLogits, await this.own(rows.permute([1, 0])))));
    }
    return grads;
  }

  async routerGradient(x: Tensor, gradLogits: Tensor): Promise<Tensor> {
    const rows = await this.own(x.reshape([-1, x.shape.at(-1) as number]));
    const grads = await this.own(gradLogits.reshape([-1, gradLogits.shape.at(-1) as number]));
    return this.own(matmul(await this.own(rows.permute([1, 0])), grads));
  }

  async stacked(parts: readonly ChoiceGradients[], name: 'bank' | 'router', like: Tensor): Promise<Tensor> {
    return this.joined(
      parts.map((part) => part[name] as Tensor),
      like.shape,
    );
  }

  /** Small tensors, one after the other. */
  async joined(parts: readonly Tensor[], shape: readonly number[]): Promise<Tensor> {
    const numbers: number[] = [];
    for (const part of parts) numbers.push(...((await part.read()) as Float32Array));
    return this.own((parts[0] as Tensor).runtime.tensor(Float32Array.from(numbers), shape));
  }

  /** What lies at an index of the first axis. */
  async partOf(x: Tensor, index: number): Promise<Tensor> {
    const slice = await this.own(x.slice(0, index, index + 1));
    return this.own(slice.reshape(x.shape.slice(1)));
  }

  async negated(x: Tensor): Promise<Tensor> {
    return this.own(multiply(x, await this.constant(-1)));
  }

  constant(value: number): Promise<Tensor<'f32'>> {
    return this.own(this.inputs.q.runtime.tensor([value], []));
  }
}
