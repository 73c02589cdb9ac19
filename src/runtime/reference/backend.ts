/** The reference backend: plain loops in float64 over memory of its own. Slow on purpose. */
import { BackendError } from '../../errors';
import { evaluate } from '../../expressions/evaluate';
import type { Table } from '../../expressions/expression';
import type { Mask } from '../../masks/mask';
import { type Score, tablesOf } from '../../scores/score';
import { convert, type HostTensor, toFloat64 } from '../../tensor/host';
import type { Tensor } from '../../tensor/tensor';
import type {
  AttentionBackwardCall,
  AttentionCall,
  Backend,
  BinaryCall,
  Buffer,
  Control,
  DepthwiseConvCall,
  DepthwiseConvWeightsCall,
  FocusBackwardCall,
  FocusCall,
  GatedDeltaRuleBackwardCall,
  GatedDeltaRuleCall,
  GatedDeltaRuleInputs,
  GatherCall,
  LayerNormCall,
  LinearAttentionBackwardCall,
  LinearAttentionCall,
  LinearAttentionProblem,
  LinearAttentionStepCall,
  MatmulCall,
  MemoryReport,
  ReluAttentionBackwardCall,
  ReluAttentionCall,
  ReluAttentionProblem,
  RmsNormCall,
  RouteBackwardCall,
  RouteCall,
  RowwiseCall,
  UnaryBackwardCall,
  UnaryCall,
} from '../backend';
import { type Modifier, type RawScore, type Sees, softmaxAttention, softmaxAttentionBackward } from './attention';
import { depthwiseConv, depthwiseConvWeights } from './depthwise-conv';
import { BINARY_FUNCTIONS, UNARY_FUNCTIONS } from './elementwise';
import { type DeltaRuleInputs, gatedDeltaRule, gatedDeltaRuleBackward } from './gated-delta-rule';
import { type LinearInputs, linearAttention, linearAttentionBackward } from './linear-attention';
import { type ReluAttentionNumbers, reluAttention, reluAttentionBackward } from './relu-attention';
import { focus, focusBackward, rmsNorm, route, routeBackward } from './rows';

/**
 * Each buffer is an ArrayBuffer of its own. A kernel copies its inputs to float64, computes, and rounds the result
 * once, into the dtype of the output; these copies are ordinary garbage and not counted in `memory()`.
 */
export class ReferenceBackend implements Backend {
  readonly name = 'reference';
  readonly #memory = new Map<Buffer, ArrayBuffer>();
  #live = 0;
  #peak = 0;

  allocate(bytes: number): Buffer {
    const buffer: Buffer = { bytes };
    try {
      this.#memory.set(buffer, new ArrayBuffer(bytes));
    } catch {
      throw new BackendError(
        `cannot allocate ${bytes} bytes (${this.#live} are live): more than the platform allows in one ArrayBuffer`,
      );
    }
    this.#live += bytes;
    this.#peak = Math.max(this.#peak, this.#live);
    return buffer;
  }

  release(buffer: Buffer): void {
    if (this.#memory.delete(buffer)) this.#live -= buffer.bytes;
  }

  write(buffer: Buffer, bytes: Uint8Array, byteOffset = 0): void {
    new Uint8Array(this.#memoryOf(buffer), byteOffset, bytes.length).set(bytes);
  }

  async read(buffer: Buffer, byteOffset: number, length: number): Promise<Uint8Array> {
    return new Uint8Array(this.#memoryOf(buffer), byteOffset, length).slice();
  }

  view(buffer: Buffer): { readonly buffer: ArrayBuffer; readonly byteOffset: number } {
    return { buffer: this.#memoryOf(buffer), byteOffset: 0 };
  }

  memory(): MemoryReport {
    return { live: this.#live, peak: this.#peak, reserved: this.#live };
  }

  resetPeak(): void {
    this.#peak = this.#live;
  }

  explain(): readonly string[] {
    return [
      'backend: reference (plain loops in float64, the truth that other backends are tested against)',
      'threads: 1',
    ];
  }

  dispose(): void {
    this.#memory.clear();
    this.#live = 0;
  }

  async attention({ q, k, v, out, lse, scale, mask, score }: AttentionCall, control: Control): Promise<void> {
    const inputs = await onHost({ q, k, v });
    control.signal?.throwIfAborted();
    const result = softmaxAttention(inputs, scale, seesOf(mask, q, k), modifierOf(score, q, k));
    this.#store(out, result.out.data);
    this.#store(lse, result.lse.data);
    control.onProgress?.(1);
  }

  async attentionBackward(call: AttentionBackwardCall, control: Control): Promise<void> {
    const { q, k, v, gradOut, gradLse, gradQ, gradK, gradV, gradTables, scale, mask, score } = call;
    const inputs = await onHost({ q, k, v, gradOut });
    const byLse = await gradLse?.toHost();
    const tables =
      score && gradTables ? new TableGradients(score, q.shape[1] as number, k.shape[1] as number) : undefined;
    control.signal?.throwIfAborted();
    const result = softmaxAttentionBackward(
      { ...inputs, ...(byLse && { gradLse: byLse }) },
      scale,
      seesOf(mask, q, k),
      modifierOf(score, q, k),
      tables?.add,
    );
    this.#store(gradQ, result.gradQ.data);
    this.#store(gradK, result.gradK.data);
    this.#store(gradV, result.gradV.data);
    if (tables && gradTables) this.#store(gradTables, tables.sums);
    control.onProgress?.(1);
  }

  async gatedDeltaRule(call: GatedDeltaRuleCall, control: Control): Promise<void> {
    const { out, state, scale } = call;
    const inputs = await deltaRuleInputs(call);
    control.signal?.throwIfAborted();
    const result = gatedDeltaRule(inputs, scale);
    this.#store(out, result.out.data as Float64Array);
    this.#store(state, result.state.data as Float64Array);
    control.onProgress?.(1);
  }

  async gatedDeltaRuleBackward(call: GatedDeltaRuleBackwardCall, control: Control): Promise<void> {
    const { gradQ, gradK, gradV, gradG, gradBeta, gradInitialState, scale } = call;
    const inputs = await deltaRuleInputs(call);
    const [gradOut, gradState] = [await call.gradOut.toHost(), await call.gradState?.toHost()];
    control.signal?.throwIfAborted();
    const result = gatedDeltaRuleBackward(inputs, { gradOut, gradState }, scale);
    const outputs = { gradQ, gradK, gradV, gradG, gradBeta, ...(gradInitialState && { gradInitialState }) };
    for (const [name, tensor] of Object.entries(outputs)) {
      this.#store(tensor, result[name as keyof typeof result].data as Float64Array);
    }
    control.onProgress?.(1);
  }

  async linearAttention(call: LinearAttentionCall, control: Control): Promise<void> {
    const { out, final, normaliser } = call;
    const inputs = await linearInputs(call);
    control.signal?.throwIfAborted();
    const result = linearAttention({ ...inputs, epsilon: normaliser?.epsilon });
    this.#store(out, result.out.data);
    if (final.state) this.#store(final.state, result.state.data);
    if (final.keySum) this.#store(final.keySum, result.keySum.data);
    if (normaliser) this.#store(normaliser.denominator, result.denominator.data);
    control.onProgress?.(1);
  }

  async linearAttentionBackward(call: LinearAttentionBackwardCall, control: Control): Promise<void> {
    const { gradQ, gradK, gradV, gradInitial } = call;
    const inputs = await linearInputs(call);
    const gradOut = await call.gradOut.toHost();
    const [gradState, gradKeySum] = [await call.gradFinal.state?.toHost(), await call.gradFinal.keySum?.toHost()];
    control.signal?.throwIfAborted();
    const epsilon = call.normalised?.epsilon;
    const result = linearAttentionBackward({ ...inputs, epsilon, gradOut, gradState, gradKeySum });
    this.#store(gradQ, result.gradQ.data);
    this.#store(gradK, result.gradK.data);
    this.#store(gradV, result.gradV.data);
    if (gradInitial.state) this.#store(gradInitial.state, result.gradState.data);
    if (gradInitial.keySum) this.#store(gradInitial.keySum, result.gradKeySum.data);
    control.onProgress?.(1);
  }

  async linearAttentionStep({ epsilon, ...call }: LinearAttentionStepCall, control: Control): Promise<void> {
    const inputs = await linearInputs({ ...call, causal: true });
    control.signal?.throwIfAborted();
    const result = linearAttention({ ...inputs, epsilon });
    this.#store(call.out, result.out.data);
    this.#store(call.final.state, result.state.data);
    if (call.final.keySum) this.#store(call.final.keySum, result.keySum.data);
    control.onProgress?.(1);
  }

  async matmul({ a, b, out }: MatmulCall, control: Control): Promise<void> {
    const [left, right] = await numbers(a, b);
    control.signal?.throwIfAborted();
    const [rows, columns] = out.shape as [number, number];
    const inner = a.shape[1] as number;
    const result = new Float64Array(rows * columns);
    for (let r = 0; r < rows; r++) {
      const row = result.subarray(r * columns, (r + 1) * columns);
      for (let i = 0; i < inner; i++) {
        const factor = left[r * inner + i]!;
        for (let c = 0; c < columns; c++) row[c]! += factor * right[i * columns + c]!;
      }
    }
    this.#store(out, result);
    control.onProgress?.(1);
  }

  async layerNorm({ x, gain, bias, out, epsilon }: LayerNormCall, control: Control): Promise<void> {
    const [values, gains, biases] = await numbers(x, gain, bias);
    control.signal?.throwIfAborted();
    const [rows, columns] = x.shape as [number, number];
    const result = new Float64Array(rows * columns);
    for (let r = 0; r < rows; r++) {
      const row = values.subarray(r * columns, (r + 1) * columns);
      const mean = row.reduce((sum, value) => sum + value, 0) / columns;
      const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / columns;
      const factor = 1 / Math.sqrt(variance + epsilon);
      row.forEach((value, c) => {
        result[r * columns + c] = (value - mean) * factor * gains[c]! + biases[c]!;
      });
    }
    this.#store(out, result);
    control.onProgress?.(1);
  }

  async rowwise({ operation, x, out }: RowwiseCall, control: Control): Promise<void> {
    const [values] = await numbers(x);
    control.signal?.throwIfAborted();
    const [rows, columns] = x.shape as [number, number];
    const results = Array.from({ length: rows }, (_, r) => {
      const row = values.subarray(r * columns, (r + 1) * columns);
      if (operation === 'sum') return [row.reduce((sum, value) => sum + value, 0)];
      const largest = row.reduce((a, b) => Math.max(a, b));
      if (operation === 'max') return [largest];
      const weights = row.map((value) => Math.exp(value - largest));
      const sum = weights.reduce((a, b) => a + b);
      return [...weights.map((weight) => weight / sum)];
    });
    this.#store(out, Float64Array.from(results.flat()));
    control.onProgress?.(1);
  }

  async unary({ operation, exponent, x, out }: UnaryCall, control: Control): Promise<void> {
    const [values] = await numbers(x);
    control.signal?.throwIfAborted();
    const { value } = UNARY_FUNCTIONS[operation];
    this.#store(
      out,
      values.map((each) => value(each, exponent)),
    );
    control.onProgress?.(1);
  }

  async unaryBackward({ operation, exponent, x, gradOut, out }: UnaryBackwardCall, control: Control): Promise<void> {
    const [values, gradients] = await numbers(x, gradOut);
    control.signal?.throwIfAborted();
    const { derivative } = UNARY_FUNCTIONS[operation];
    this.#store(
      out,
      values.map((each, i) => gradients[i]! * derivative(each, exponent)),
    );
    control.onProgress?.(1);
  }

  async binary({ operation, a, b, stretch, out }: BinaryCall, control: Control): Promise<void> {
    const [left, right] = await numbers(a, b);
    control.signal?.throwIfAborted();
    const combine = BINARY_FUNCTIONS[operation];
    this.#store(
      out,
      left.map((value, i) => combine(value, right[Math.floor(i / stretch) % right.length]!)),
    );
    control.onProgress?.(1);
  }

  async gather({ table, indices, out }: GatherCall, control: Control): Promise<void> {
    const [rows, at] = await numbers(table, indices);
    control.signal?.throwIfAborted();
    const columns = table.shape[1] as number;
    const result = new Float64Array(at.length * columns);
    at.forEach((index, r) => {
      result.set(rows.subarray(index * columns, (index + 1) * columns), r * columns);
    });
    this.#store(out, result);
    control.onProgress?.(1);
  }

  async rmsNorm({ x, gradOut, out, epsilon, offset }: RmsNormCall, control: Control): Promise<void> {
    const [values] = await numbers(x);
    const [gradients] = gradOut ? await numbers(gradOut) : [];
    control.signal?.throwIfAborted();
    this.#store(out, rmsNorm(values, x.shape[1] as number, epsilon, offset, gradients));
    control.onProgress?.(1);
  }

  async reluAttention({ out, ...problem }: ReluAttentionCall, control: Control): Promise<void> {
    const inputs = await reluAttentionNumbers(problem);
    control.signal?.throwIfAborted();
    this.#store(out, reluAttention(inputs, problem));
    control.onProgress?.(1);
  }

  async reluAttentionBackward(call: ReluAttentionBackwardCall, control: Control): Promise<void> {
    const inputs = await reluAttentionNumbers(call);
    const [gradOut] = await numbers(call.gradOut);
    control.signal?.throwIfAborted();
    const { gradQ, gradK, gradV } = reluAttentionBackward(inputs, call, gradOut);
    this.#store(call.gradQ, gradQ);
    this.#store(call.gradK, gradK);
    this.#store(call.gradV, gradV);
    control.onProgress?.(1);
  }

  async depthwiseConv({ x, weight, bias, out, dilation, flipped }: DepthwiseConvCall, control: Control): Promise<void> {
    const [values, weights] = await numbers(x, weight);
    const [biases] = bias ? await numbers(bias) : [];
    control.signal?.throwIfAborted();
    const taps = weight.shape.slice(0, 2) as [number, number];
    this.#store(out, depthwiseConv(values, weights, biases, flipped, { shape: x.shape, taps, dilation }));
    control.onProgress?.(1);
  }

  async depthwiseConvWeights(call: DepthwiseConvWeightsCall, control: Control): Promise<void> {
    const { x, gradOut, out, dilation } = call;
    const [values, gradients] = await numbers(x, gradOut);
    control.signal?.throwIfAborted();
    const taps = out.shape.slice(0, 2) as [number, number];
    this.#store(out, depthwiseConvWeights(values, gradients, { shape: x.shape, taps, dilation }));
    control.onProgress?.(1);
  }

  async route({ logits, bank, out }: RouteCall, control: Control): Promise<void> {
    const [scores, entries] = await numbers(logits, bank);
    control.signal?.throwIfAborted();
    this.#store(out, route(scores, entries));
    control.onProgress?.(1);
  }

  async routeBackward(call: RouteBackwardCall, control: Control): Promise<void> {
    const [scores, entries, gradOut] = await numbers(call.logits, call.bank, call.gradOut);
    control.signal?.throwIfAborted();
    const [byLogits, byBank] = routeBackward(scores, entries, gradOut);
    this.#store(call.gradLogits, byLogits);
    this.#store(call.gradBank, byBank);
    control.onProgress?.(1);
  }

  async focus({ x, exponents, out }: FocusCall, control: Control): Promise<void> {
    const [values, powers] = await numbers(x, exponents);
    control.signal?.throwIfAborted();
    this.#store(out, focus(values, powers));
    control.onProgress?.(1);
  }

  async focusBackward(call: FocusBackwardCall, control: Control): Promise<void> {
    const [values, powers, gradOut] = await numbers(call.x, call.exponents, call.gradOut);
    control.signal?.throwIfAborted();
    const [byX, byExponents] = focusBackward(values, powers, gradOut);
    this.#store(call.gradX, byX);
    this.#store(call.gradExponents, byExponents);
    control.onProgress?.(1);
  }

  #memoryOf(buffer: Buffer): ArrayBuffer {
    const memory = this.#memory.get(buffer);
    if (!memory) throw new BackendError('the memory was released, or belongs to another backend');
    return memory;
  }

  #store(out: Tensor, values: Float64Array): void {
    const { data } = convert({ dtype: 'f64', shape: out.shape, data: values }, out.dtype);
    this.write(
      out.storage.buffer,
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      out.offset * data.BYTES_PER_ELEMENT,
    );
  }
}

/** The elements of each tensor in row-major order. */
async function numbers<const Tensors extends readonly Tensor[]>(
  ...tensors: Tensors
): Promise<{ [Index in keyof Tensors]: Float64Array }> {
  const hosts = await Promise.all(tensors.map((tensor) => tensor.toHost()));
  return hosts.map(toFloat64) as { [Index in keyof Tensors]: Float64Array };
}

async function onHost<Name extends string>(tensors: Readonly<Record<Name, Tensor>>): Promise<Record<Name, HostTensor>> {
  const entries = Object.entries<Tensor>(tensors).map(async ([name, tensor]) => [name, await tensor.toHost()] as const);
  return Object.fromEntries(await Promise.all(entries)) as Record<Name, HostTensor>;
}

async function reluAttentionNumbers({ q, k, v }: ReluAttentionProblem): Promise<ReluAttentionNumbers> {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const extents = { b, n, h, g: k.shape[2] as number, d, e: v.shape[3] as number };
  const [queries, keys, values] = await numbers(q, k, v);
  return { q: queries, k: keys, v: values, extents };
}

async function linearInputs({ q, k, v, initial, causal, decay }: LinearAttentionProblem): Promise<LinearInputs> {
  const [state, keySum] = [await initial.state?.toHost(), await initial.keySum?.toHost()];
  return { ...(await onHost({ q, k, v })), state, keySum, causal, decay };
}

async function deltaRuleInputs({ q, k, v, g, beta, initialState }: GatedDeltaRuleInputs): Promise<DeltaRuleInputs> {
  return { ...(await onHost({ q, k, v, g, beta })), initialState: await initialState?.toHost() };
}

function seesOf(mask: Mask, q: Tensor, k: Tensor): Sees {
  const [b, n, h] = q.shape as [number, number, number];
  const [, m, g] = k.shape as [number, number, number];
  return (i, j, head, batch) => mask.sees(i, j, { b, n, m, h, g, batch, head });
}

function modifierOf(score: Score | undefined, q: Tensor, k: Tensor): Modifier | undefined {
  if (!score) return undefined;
  const fixed = { n: q.shape[1] as number, m: k.shape[1] as number };
  return {
    value: (old, i, j, h, b) => evaluate(score.expression, i, j, { ...fixed, h, b }, old),
    slope: (old, i, j, h, b) => evaluate(score.derivative, i, j, { ...fixed, h, b }, old),
  };
}

/** Sums of the gradients by the elements of captured arrays, one array after the other. */
class TableGradients {
  readonly sums: Float64Array;
  readonly #first = new Map<Table, number>();

  constructor(
    readonly score: Score,
    readonly n: number,
    readonly m: number,
  ) {
    let elements = 0;
    for (const table of tablesOf(score)) {
      this.#first.set(table, elements);
      elements += table.values.length;
    }
    this.sums = new Float64Array(elements);
  }

  readonly add = ({ score, i, j, head: h, batch: b }: RawScore, gradient: number): void => {
    const fixed = { n: this.n, m: this.m, h, b };
    for (const { table, index, factor } of this.score.tables) {
      const at = evaluate(index, i, j, fixed, score);
      if (!(at >= 0 && at < table.values.length)) continue;
      const element = (this.#first.get(table) as number) + at;
      this.sums[element] = (this.sums[element] as number) + gradient * evaluate(factor, i, j, fixed, score);
    }
  };
}
