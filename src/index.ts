export {
  type AppendOptions,
  createKeyValueCache,
  createRecurrentCache,
  type KeyValueCache,
  type KeyValueCacheOptions,
  type RecurrentCache,
  type RecurrentCacheOptions,
  type RecurrentLayer,
} from './cache';
export { type CompareOptions, compare } from './compare/compare';
export type { AttentionMaps, Comparison, ComparisonReport, FailedRow, MeasuredRow, Row } from './compare/comparison';
export type { Qkv } from './compare/contenders';
export { decodeMap } from './compare/maps';
export { type HostArray, type SdpaLayout, type SdpaOptions, type SdpaResult, sdpa } from './conventions/sdpa';
export * from './errors';
export type { CapturedValues } from './expressions/parse';
export type { Words } from './expressions/words';
export {
  effectiveReceptiveField,
  type Network,
  type ReceptiveField,
  type ReceptiveFieldOptions,
} from './measure/receptive-field';
export type { AttendOptions, Continuation, FromInputs, FromKeys, FromState } from './methods/continuation';
export {
  type Cost,
  defineMethod,
  type Layer,
  type LayerConfig,
  type LayerParameter,
  type Method,
  type MethodOf,
  type MethodSpec,
} from './methods/define';
export { defineMaskedMethod, type MaskedMethod, type MaskedSpec } from './methods/masked';
export { findMethod, methods } from './methods/registry';
export {
  type AttentionBackwardOptions,
  type AttentionBackwardResult,
  type AttentionGradients,
  type AttentionOptions,
  type AttentionResult,
  type AttentionSettings,
  attention,
  attentionBackward,
  type CachedAttentionOptions,
} from './ops/attention';
export type { Regions, Selection } from './ops/attention/selection';
export {
  type BatchNormOptions,
  type BatchNormResult,
  batchNorm,
  type FoldBatchNormOptions,
  type FoldedConv,
  foldBatchNorm,
} from './ops/batch-norm';
export type { CacheLayer, CacheLayerOptions, CacheRope } from './ops/cache/layer';
export type { CacheDType } from './ops/cache/layout';
export { type CellAttentionOptions, cellAttention } from './ops/cell-attention';
export {
  type AxisPadding,
  type ConvOptions,
  type ConvTransposeOptions,
  conv,
  convTranspose,
  type Padding,
  type PerAxis,
} from './ops/conv';
export { cast, concat, contiguous, type PadOptions, pad } from './ops/copy';
export { createRuntime, defaultRuntime, type RuntimeOptions } from './ops/create-runtime';
export { type CrossEntropyOptions, crossEntropy } from './ops/cross-entropy';
export { type CumulativeSumOptions, cumulativeSum } from './ops/cumulative-sum';
export type { ResultOptions } from './ops/float32';
export {
  type GatedDeltaRuleBackwardOptions,
  type GatedDeltaRuleBackwardResult,
  type GatedDeltaRuleGradients,
  type GatedDeltaRuleOptions,
  type GatedDeltaRuleResult,
  type GatedDeltaRuleSettings,
  type GatedDeltaRuleStepOptions,
  gatedDeltaRule,
  gatedDeltaRuleBackward,
  gatedDeltaRuleStep,
} from './ops/gated-delta-rule';
export { embedding, gather } from './ops/gather';
export {
  type CholeskyOptions,
  cholesky,
  type EighResult,
  eigh,
  inverse,
  logdet,
  lstsq,
  type QrResult,
  qr,
  type RefinedSolution,
  type SolveOptions,
  type SolveRefinedOptions,
  type SvdResult,
  solve,
  solveRefined,
  svd,
  type TriangularSolveOptions,
  triangularSolve,
} from './ops/linalg';
export {
  type LinearAttentionBackwardOptions,
  type LinearAttentionBackwardResult,
  type LinearAttentionGradients,
  type LinearAttentionOptions,
  type LinearAttentionResult,
  type LinearAttentionSettings,
  type LinearAttentionStepOptions,
  linearAttention,
  linearAttentionBackward,
  linearAttentionStep,
} from './ops/linear-attention';
export {
  type LocalLinearBackwardResult,
  type LocalLinearGradients,
  type LocalLinearOptions,
  type LocalLinearResult,
  type LocalLinearSettings,
  localLinearAttention,
  localLinearAttentionBackward,
} from './ops/local-linear';
export {
  add,
  cos,
  elu,
  eluPlusOne,
  exp,
  gelu,
  multiply,
  power,
  reciprocal,
  relu,
  rsqrt,
  sigmoid,
  silu,
  sin,
  step,
  subtract,
  tanh,
} from './ops/map';
export type { Elementwise } from './ops/map/function';
export { elementwise, type MapOptions, type MapResult, map } from './ops/map/map';
export { type MatmulOptions, matmul } from './ops/matmul';
export { type AttentionState, type MergeStatesOptions, mergeStates } from './ops/merge-states';
export { groupNorm, layerNorm, type NormOptions, type RmsNormOptions, rmsNorm, rmsNormBackward } from './ops/norm';
export { type PackedType, PackedWeight } from './ops/packed';
export { type CachedParallaxOptions, type ParallaxOptions, parallax } from './ops/parallax';
export { type PixelShuffleOptions, pixelShuffle, pixelUnshuffle } from './ops/pixel-shuffle';
export { type FarthestPointsOptions, farthestPoints, nearestPoints } from './ops/points';
export { type AdaptivePoolOptions, adaptivePool, type PoolOptions, pool } from './ops/pool';
export { type RandomOptions, random } from './ops/random';
export { argmax, logSumExp, max, mean, type ReduceOptions, sum } from './ops/reduce';
export { type ReluAttentionOptions, reluAttention, reluAttentionBackward } from './ops/relu-attention';
export { type ResizeOptions, resize } from './ops/resize';
export {
  type KeyIndex,
  type KeyIndexOptions,
  keyIndex,
  type RetrievedAttention,
  type RetrievedAttentionOptions,
  retrievedAttention,
} from './ops/retrieval';
export { loadKeyIndex, saveKeyIndex } from './ops/retrieval/saved';
export { type RopeOptions, type RopeScaling, type RopeSettings, rope } from './ops/rope';
export { focus, focusBackward, route } from './ops/routing';
export { scatterAdd } from './ops/scatter-add';
export { type SoftmaxOptions, softmax } from './ops/softmax';
export { type ArgsortOptions, argsort, type TopKOptions, topK } from './ops/top-k';
export { type FoldOptions, fold, type UnfoldOptions, unfold } from './ops/unfold';
export { type WarmName, warm } from './ops/warm';
export type { BackendName, Control } from './runtime/backend';
export type { MemoryReport } from './runtime/memory';
export type { Runtime } from './runtime/runtime';
export type { GpuBufferLike, GpuDeviceLike, GpuOptions, GpuSizes } from './runtime/webgpu/adapter';
export {
  type DerivativeContext,
  differentiate,
  type Gradients,
  type Pullback,
  pullback,
  recompute,
  type SomeGradients,
  stopGradient,
  straightThrough,
  withDerivative,
} from './tape';
export type { DType, HostDType } from './tensor/dtype';
export { convert, type HostTensor, hostTensor, type Numbers } from './tensor/host';
export type { NestedNumbers } from './tensor/nested';
export type { Shape } from './tensor/shape';
export { Tensor } from './tensor/tensor';
export { type TunedCandidate, type TuneOptions, type TuneReport, tuneWebGpu } from './tune/index';
