export * from './errors';
export { type Band, band, causal, full } from './masks/band';
export { type AttentionOptions, type AttentionResult, attention } from './ops/attention';
export type { BackendName, Control, MemoryReport } from './runtime/backend';
export { createRuntime, defaultRuntime, type Runtime, type RuntimeOptions } from './runtime/runtime';
export type { DType, HostDType } from './tensor/dtype';
export { convert, type HostTensor, hostTensor, type Numbers } from './tensor/host';
export type { Shape } from './tensor/shape';
export { Tensor } from './tensor/tensor';
