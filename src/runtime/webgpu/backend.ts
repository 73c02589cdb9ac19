/** The GPU backend: WGSL kernels on one WebGPU device. */
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
  GatherCall,
  LayerNormCall,
  LinearAttentionBackwardCall,
  LinearAttentionCall,
  LinearAttentionStepCall,
  MatmulCall,
  MemoryReport,
  ReluAttentionBackwardCall,
  ReluAttentionCall,
  RmsNormCall,
  RouteBackwardCall,
  RouteCall,
  RowwiseCall,
  UnaryBackwardCall,
  UnaryCall,
} from '../backend';
import type { GpuBufferLike, GpuOptions } from './adapter';
import { Device } from './device';
import { planAttention } from './kernels/attention';
import { planAttentionBackward } from './kernels/attention-backward';
import { planDepthwiseConv, planDepthwiseConvWeights } from './kernels/depthwise-conv';
import { planBinary, planUnary } from './kernels/elementwise';
import { planGatedDeltaRule, planGatedDeltaRuleBackward } from './kernels/gated-delta-rule';
import { planLinearAttention, planLinearAttentionBackward, planLinearAttentionStep } from './kernels/linear-attention';
import { planMatmul } from './kernels/matmul';
import { peakOperations, planPeak } from './kernels/peak';
import { planReluAttention, planReluAttentionBackward } from './kernels/relu-attention';
import { planFocus, planFocusBackward, planRoute, planRouteBackward } from './kernels/routing';
import { planGather, planLayerNorm, planRmsNorm, planRowwise } from './kernels/rows';
import { type GpuBuffer, Memory } from './memory';
import { Queue } from './queue';

export class WebGpuBackend implements Backend {
  readonly name = 'webgpu';
  readonly #device: Device;
  readonly #memory: Memory;
  readonly #queue: Queue;

  static async create(options: GpuOptions): Promise<WebGpuBackend> {
    return new WebGpuBackend(await Device.open(options));
  }

  private constructor(device: Device) {
    this.#device = device;
    this.#memory = new Memory(device);
    this.#queue = new Queue(device, this.#memory);
  }

  allocate(bytes: number): Buffer {
    this.#device.check();
    return this.#memory.allocate(bytes);
  }

  adopt(handle: GpuBufferLike, byteOffset: number, bytes: number): Buffer {
    this.#device.check();
    return this.#memory.adopt(handle as GPUBuffer, byteOffset, bytes);
  }

  gpuBuffer(buffer: Buffer): GpuBufferLike {
    return (buffer as GpuBuffer).handle;
  }

  release(buffer: Buffer): void {
    this.#memory.release(buffer as GpuBuffer);
  }

  write(buffer: Buffer, bytes: Uint8Array, byteOffset = 0): void {
    this.#queue.write(buffer as GpuBuffer, bytes, byteOffset);
  }

  read(buffer: Buffer, byteOffset: number, length: number): Promise<Uint8Array> {
    return this.#queue.read(buffer as GpuBuffer, byteOffset, length);
  }

  copy(from: Buffer, to: Buffer): Promise<void> {
    return this.#queue.copy(from as GpuBuffer, to as GpuBuffer);
  }

  get isSoftware(): boolean {
    return this.#device.isSoftware;
  }

  finish(): Promise<void> {
    return this.#queue.finish();
  }

  memory(): MemoryReport {
    return this.#memory.report();
  }

  resetPeak(): void {
    this.#memory.resetPeak();
  }

  explain(): readonly string[] {
    return ['backend: webgpu', ...this.#device.explain()];
  }

  dispose(): void {
    this.#device.dispose();
    this.#queue.dispose();
    this.#memory.dispose();
  }

  async peak(rounds: number): Promise<number> {
    await this.#queue.run((workspace) => planPeak(rounds, workspace), {});
    await this.#queue.finish();
    return peakOperations(rounds, this.#device);
  }

  attention(call: AttentionCall, control: Control): Promise<void> {
    return this.#queue.run((workspace) => planAttention(call, workspace), control);
  }

  attentionBackward(call: AttentionBackwardCall, control: Control): Promise<void> {
    return this.#queue.run((workspace) => planAttentionBackward(call, workspace), control);
  }

  gatedDeltaRule(call: GatedDeltaRuleCall, control: Control): Promise<void> {
    return this.#queue.run((workspace) => planGatedDeltaRule(call, workspace), control);
  }

  gatedDeltaRuleBackward(call: GatedDeltaRuleBackwardCall, control: Control): Promise<void> {
    return this.#queue.run((workspace) => planGatedDeltaRuleBackward(call, workspace), control);
  }

  linearAttention(call: LinearAttentionCall, control: Control): Promise<void> {
    return this.#queue.run((workspace) => planLinearAttention(call, workspace), control);
  }

  linearAttentionBackward(call: LinearAttentionBackwardCall, control: Control): Promise<void> {
    return this.#queue.run((workspace) => planLinearAttentionBackward(call, workspace), control);
  }

  linearAttentionStep(call: LinearAttentionStepCall, control: Control): Promise<void> {
    return this.#queue.run((workspace) => planLinearAttentionStep(call, workspace), control);
  }

  matmul(call: MatmulCall, control: Control): Promise<void> {
    return this.#queue.run((workspace) => planMatmul(call, workspace), control);
  }

  layerNorm(call: LayerNormCall, control: Control): Promise<void> {
    return this.#queue.run((workspace) => planLayerNorm(call, workspace), control);
  }

  rowwise(call: RowwiseCall, control: Control): Promise<void> {
    return this.#queue.run((workspace) => planRowwise(call, workspace), control);
  }

  unary(call: UnaryCall, control: Control): Promise<void> {
    return this.#queue.run(() => planUnary(call), control);
  }

  unaryBackward(call: UnaryBackwardCall, control: Control): Promise<void> {
    return this.#queue.run(() => planUnary(call), control);
  }

  binary(call: BinaryCall, control: Control): Promise<void> {
    return this.#queue.run(() => planBinary(call), control);
  }

  gather(call: GatherCall, control: Control): Promise<void> {
    return this.#queue.run(() => planGather(call), control);
  }

  rmsNorm(call: RmsNormCall, control: Control): Promise<void> {
    return this.#queue.run((workspace) => planRmsNorm(call, workspace), control);
  }

  reluAttention(call: ReluAttentionCall, control: Control): Promise<void> {
    return this.#queue.run(() => planReluAttention(call), control);
  }

  reluAttentionBackward(call: ReluAttentionBackwardCall, control: Control): Promise<void> {
    return this.#queue.run(() => planReluAttentionBackward(call), control);
  }

  depthwiseConv(call: DepthwiseConvCall, control: Control): Promise<void> {
    return this.#queue.run(() => planDepthwiseConv(call), control);
  }

  depthwiseConvWeights(call: DepthwiseConvWeightsCall, control: Control): Promise<void> {
    return this.#queue.run((workspace) => planDepthwiseConvWeights(call, workspace), control);
  }

  route(call: RouteCall, control: Control): Promise<void> {
    return this.#queue.run((workspace) => planRoute(call, workspace), control);
  }

  routeBackward(call: RouteBackwardCall, control: Control): Promise<void> {
    return this.#queue.run((workspace) => planRouteBackward(call, workspace), control);
  }

  focus(call: FocusCall, control: Control): Promise<void> {
    return this.#queue.run((workspace) => planFocus(call, workspace), control);
  }

  focusBackward(call: FocusBackwardCall, control: Control): Promise<void> {
    return this.#queue.run((workspace) => planFocusBackward(call, workspace), control);
  }
}
