/**
 * What a backend is.
 *
 * A backend owns memory and runs kernels over it, nothing else. It does not know methods, does not validate (an op has
 * checked shapes, dtypes and ownership before it calls), does not count references and does not decide what to
 * compute: the call it receives is the whole plan. Memory is handed out as opaque `Buffer`s; the tensors in a call say
 * where in them, and with which strides, the elements lie. Outputs are allocated by the op and are contiguous.
 *
 * Kernels are asynchronous because the work happens elsewhere (worker threads, a GPU). Calls made one after the other
 * take effect in that order, so an op may be started on the result of one still running only after awaiting it. On a
 * GPU a kernel resolves once its commands are under way: what is called or read afterwards comes after them, and
 * `finish` waits for them.
 * A kernel that cannot finish rejects with the signal's reason or a BackendError and leaves its outputs undefined.
 *
 * `reference` computes in float64 with plain loops and is the truth; every other backend is tested against it.
 */
import type { Mask } from '../masks/mask';
import type { Score } from '../scores/score';
import type { Tensor } from '../tensor/tensor';
import type { GpuBufferLike } from './webgpu/adapter';

export const BACKENDS = ['reference', 'wasm', 'webgpu'] as const;
export type BackendName = (typeof BACKENDS)[number];

/** Memory on a backend. */
export interface Buffer {
  readonly bytes: number;
}

export interface MemoryReport {
  /** Bytes that tensors hold now. */
  readonly live: number;
  /**
   * The most bytes held at once since the start or `resetPeak()`, kernels' working memory included and what is kept from
   * call to call, such as the tables of scores.
   */
  readonly peak: number;
  /** Bytes taken from the system. */
  readonly reserved: number;
}

/** Cancel and progress of one call; both optional. */
export interface Control {
  readonly signal?: AbortSignal | undefined;
  /** Called now and then with the share of the work done, from 0 to 1. What it throws ends the call, which rejects with it. */
  readonly onProgress?: ((share: number) => void) | undefined;
}

/** q [b,n,h,d], k [b,m,g,d], v [b,m,g,e] of any strides -> out [b,n,h,e], lse [b,n,h] f32 (natural log). */
export interface AttentionCall {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly out: Tensor;
  readonly lse: Tensor;
  readonly scale: number;
  readonly mask: Mask;
  /** What changes the scores before the softmax. */
  readonly score?: Score | undefined;
}

/**
 * What `attention` returned for q, k and v, and the gradients of a loss by that: gradOut [b,n,h,e] of any strides, gradLse
 * [b,n,h] f32, contiguous -> the gradients gradQ, gradK and gradV, of the shapes of q, k and v; and, if wanted, gradTables
 * by the elements of the arrays that `score` captured, f32, one array after the other.
 */
export interface AttentionBackwardCall extends AttentionCall {
  readonly gradOut: Tensor;
  readonly gradLse?: Tensor | undefined;
  readonly gradQ: Tensor;
  readonly gradK: Tensor;
  readonly gradV: Tensor;
  readonly gradTables?: Tensor | undefined;
}

/** What a kernel that finds a denominator of 0 says. */
export const VANISHED =
  'a denominator vanished or an input is not finite: q and the sum of keys it meets must not be orthogonal; use features that are not negative, or a larger epsilon';

/** What linear attention carries from row to row, f32: the state [b,h,d,e] and, with a normaliser, the sum of keys [b,h,d]. */
interface LinearState {
  readonly state?: Tensor | undefined;
  /** Contiguous. */
  readonly keySum?: Tensor | undefined;
}

export interface LinearAttentionProblem {
  /** [b,n,h,d]; g divides h. */
  readonly q: Tensor;
  /** [b,m,g,d], of any strides as are q and v. */
  readonly k: Tensor;
  /** [b,m,g,e]. */
  readonly v: Tensor;
  /** Each query sees the keys up to its own, n = m; else all keys, and the decays are 1. */
  readonly causal: boolean;
  /** For each of the h heads, in (0, 1]. */
  readonly decay: readonly number[];
  readonly initial: LinearState;
}

/**
 * out_i = q_i S_i for S_i = decay S_(i-1) + k_i^T v_i from the initial state, or q_i S for S with all keys -> out
 * [b,n,h,e] and the last state. With `normaliser` out_i is divided by denominator_i = q_i (sum of the keys, decayed as
 * the state is) + epsilon, f32 [b,n,h]; one that is 0 or NaN is a ParameterError.
 */
export interface LinearAttentionCall extends LinearAttentionProblem {
  readonly out: Tensor;
  readonly final: LinearState;
  readonly normaliser?: { readonly epsilon: number; readonly denominator: Tensor } | undefined;
}

/** Gradients of a loss by the inputs of a `LinearAttentionCall`, from those by its results. */
export interface LinearAttentionBackwardCall extends LinearAttentionProblem {
  /** What the call returned, where it had a normaliser. */
  readonly normalised?: { readonly epsilon: number; readonly out: Tensor; readonly denominator: Tensor } | undefined;
  /** [b,n,h,e] of any strides. */
  readonly gradOut: Tensor;
  /** By the last state. */
  readonly gradFinal: LinearState;
  readonly gradQ: Tensor;
  readonly gradK: Tensor;
  readonly gradV: Tensor;
  readonly gradInitial: LinearState;
}

/** The causal call for n = 1. States are contiguous; `final` may lie where `initial` does. */
export interface LinearAttentionStepCall
  extends Pick<LinearAttentionProblem, 'q' | 'k' | 'v' | 'decay'>,
    Pick<LinearAttentionCall, 'out'> {
  readonly initial: LinearState & { readonly state: Tensor };
  readonly final: LinearState & { readonly state: Tensor };
  /** Present if the states have sums of keys. */
  readonly epsilon?: number | undefined;
}

/** a [r,k] times b [k,c] of any strides, f32 -> out [r,c]. */
export interface MatmulCall {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly out: Tensor;
}

/** Normalises each row of x [r,c] to mean 0 and variance 1, then times gain [c] plus bias [c]; f32, contiguous. */
export interface LayerNormCall {
  readonly x: Tensor;
  readonly gain: Tensor;
  readonly bias: Tensor;
  readonly out: Tensor;
  readonly epsilon: number;
}

export const UNARY = [
  'relu',
  'tanh',
  'exp',
  'sigmoid',
  'silu',
  'elu',
  'eluPlusOne',
  'step',
  'sin',
  'cos',
  'power',
  'gelu',
  'reciprocal',
] as const;
export type Unary = (typeof UNARY)[number];

/** out = f(x), elementwise; f32, contiguous. */
export interface UnaryCall {
  readonly operation: Unary;
  /** Of `power`, an integer from 1 to 64; else 1. */
  readonly exponent: number;
  readonly x: Tensor;
  readonly out: Tensor;
}

/** out = gradOut f'(x), elementwise; f32, contiguous. */
export interface UnaryBackwardCall extends UnaryCall {
  readonly gradOut: Tensor;
}

export const BINARY = ['add', 'subtract', 'multiply'] as const;
export type Binary = (typeof BINARY)[number];

/**
 * out = f(a, b), elementwise; each element of b serves `stretch` elements of a in a row, and b repeats until a ends; f32,
 * contiguous.
 */
export interface BinaryCall {
  readonly operation: Binary;
  readonly a: Tensor;
  readonly b: Tensor;
  readonly stretch: number;
  readonly out: Tensor;
}

export const ROWWISE = ['softmax', 'sum', 'max'] as const;
export type Rowwise = (typeof ROWWISE)[number];

/** Each row of x [r,c] to its softmax, out [r,c], or to one number, out [r]; f32, contiguous. */
export interface RowwiseCall {
  readonly operation: Rowwise;
  readonly x: Tensor;
  readonly out: Tensor;
}

/** Rows of table [t,c] picked by indices [r] (i32, checked by the kernel's caller) -> out [r,c]; f32, contiguous. */
export interface GatherCall {
  readonly table: Tensor;
  readonly indices: Tensor;
  readonly out: Tensor;
}

/**
 * Rows of x [r,c] over sqrt(mean of squares + epsilon) + offset, zeros where that is 0; with gradOut the gradient by x of
 * a loss whose gradient by those is gradOut; f32, contiguous.
 */
export interface RmsNormCall {
  readonly x: Tensor;
  readonly gradOut?: Tensor | undefined;
  readonly out: Tensor;
  readonly epsilon: number;
  readonly offset: number;
}

/** Attention within blocks of tokens with weights relu(scale q k); q [b,n,h,d], k [b,n,g,d], v [b,n,g,e], f32, contiguous. */
export interface ReluAttentionProblem {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly block: number;
  readonly causal: boolean;
  readonly scale: number;
}

/** -> out [b,n,h,e]. */
export interface ReluAttentionCall extends ReluAttentionProblem {
  readonly out: Tensor;
}

export interface ReluAttentionBackwardCall extends ReluAttentionProblem {
  readonly gradOut: Tensor;
  readonly gradQ: Tensor;
  readonly gradK: Tensor;
  readonly gradV: Tensor;
}

/** Each channel of pictures x [b,y,x,c] with its own kernel, of odd extents; zeros lie around the pictures; f32, contiguous. */
export interface DepthwiseConvCall {
  readonly x: Tensor;
  /** [ky,kx,c]. */
  readonly weight: Tensor;
  /** [c]. */
  readonly bias?: Tensor | undefined;
  /** Of the shape of x. */
  readonly out: Tensor;
  readonly dilation: readonly [rows: number, columns: number];
  /** Whether the kernels are turned by half a circle. */
  readonly flipped: boolean;
}

/** The gradient by the kernels -> out [ky,kx,c]. */
export interface DepthwiseConvWeightsCall extends Pick<DepthwiseConvCall, 'x' | 'out' | 'dilation'> {
  readonly gradOut: Tensor;
}

/** The entry of bank [u] at the largest of each row of logits [r,u], the first of equal ones -> out [r]; f32, contiguous. */
export interface RouteCall {
  readonly logits: Tensor;
  readonly bank: Tensor;
  readonly out: Tensor;
}

/** Straight through: by the logits as if out was the bank's mean under their softmax, by the bank as it is. */
export interface RouteBackwardCall extends Pick<RouteCall, 'logits' | 'bank'> {
  readonly gradOut: Tensor;
  readonly gradLogits: Tensor;
  readonly gradBank: Tensor;
}

/** Rows relu(x)^g of the length of relu(x), g = max(1, exponents [r]); x and out [r,c]; f32, contiguous. */
export interface FocusCall {
  readonly x: Tensor;
  readonly exponents: Tensor;
  readonly out: Tensor;
}

export interface FocusBackwardCall extends Pick<FocusCall, 'x' | 'exponents'> {
  readonly gradOut: Tensor;
  readonly gradX: Tensor;
  readonly gradExponents: Tensor;
}

/** How the gated delta rule is computed: by products over chunks of tokens, or token by token. */
export const DELTA_RULE_FORMS = ['chunked', 'recurrent'] as const;
export type DeltaRuleForm = (typeof DELTA_RULE_FORMS)[number];

/** q and k [b,n,h,d], v [b,n,h,e], g and beta [b,n,h], initialState [b,h,d,e] of any strides. */
export interface GatedDeltaRuleInputs {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  /** Finite and at most 0. */
  readonly g: Tensor;
  readonly beta: Tensor;
  readonly initialState?: Tensor | undefined;
  readonly scale: number;
}

/** -> out [b,n,h,e], state [b,h,d,e] f32. */
export interface GatedDeltaRuleCall extends GatedDeltaRuleInputs {
  readonly out: Tensor;
  readonly state: Tensor;
  readonly form: DeltaRuleForm;
}

/**
 * Gradients of a loss by out and, perhaps, by the last state, of any strides -> those by the inputs, of their shapes;
 * by the initial state only if there is one.
 */
export interface GatedDeltaRuleBackwardCall extends GatedDeltaRuleInputs {
  readonly gradOut: Tensor;
  readonly gradState?: Tensor | undefined;
  readonly gradQ: Tensor;
  readonly gradK: Tensor;
  readonly gradV: Tensor;
  readonly gradG: Tensor;
  readonly gradBeta: Tensor;
  readonly gradInitialState?: Tensor | undefined;
}

export interface Backend {
  readonly name: BackendName;

  /** New memory with undefined content; a BackendError says how much was asked, is live and is allowed. */
  allocate(bytes: number): Buffer;
  release(buffer: Buffer): void;
  write(buffer: Buffer, bytes: Uint8Array, byteOffset?: number): void;
  /** A copy of `length` bytes from `byteOffset`, in memory of its own. */
  read(buffer: Buffer, byteOffset: number, length: number): Promise<Uint8Array>;
  /** Where the buffer lies in JavaScript-addressable memory, on the backends that have it there. */
  view?(buffer: Buffer): { readonly buffer: ArrayBufferLike; readonly byteOffset: number };

  /** A caller's GPU buffer as memory of this backend from `byteOffset` on, on backends that compute on such. */
  adopt?(handle: GpuBufferLike, byteOffset: number, bytes: number): Buffer;
  /** The GPU buffer that memory lies in, on backends that compute on such. */
  gpuBuffer?(buffer: Buffer): GpuBufferLike;

  /** Copies a whole buffer to another of as many bytes by the device's own command, on backends that have one. */
  copy?(from: Buffer, to: Buffer): Promise<void>;

  /** Whether it computes on a GPU that the processor imitates, on backends that compute on GPUs. */
  readonly isSoftware?: boolean;

  /** Resolves when all kernels called so far are done, on backends where they may outlast their calls. */
  finish?(): Promise<void>;
  memory(): MemoryReport;
  resetPeak(): void;
  /** What was chosen and why, one fact a line. */
  explain(): readonly string[];
  dispose(): void;
  /** Runs the backend's fastest multiply-add loop for `rounds` on every thread; resolves to the operations done. */
  peak?(rounds: number): Promise<number>;

  attention(call: AttentionCall, control: Control): Promise<void>;
  attentionBackward(call: AttentionBackwardCall, control: Control): Promise<void>;
  gatedDeltaRule(call: GatedDeltaRuleCall, control: Control): Promise<void>;
  gatedDeltaRuleBackward(call: GatedDeltaRuleBackwardCall, control: Control): Promise<void>;
  linearAttention(call: LinearAttentionCall, control: Control): Promise<void>;
  linearAttentionBackward(call: LinearAttentionBackwardCall, control: Control): Promise<void>;
  linearAttentionStep(call: LinearAttentionStepCall, control: Control): Promise<void>;
  matmul(call: MatmulCall, control: Control): Promise<void>;
  layerNorm(call: LayerNormCall, control: Control): Promise<void>;
  rowwise(call: RowwiseCall, control: Control): Promise<void>;
  unary(call: UnaryCall, control: Control): Promise<void>;
  unaryBackward(call: UnaryBackwardCall, control: Control): Promise<void>;
  binary(call: BinaryCall, control: Control): Promise<void>;
  gather(call: GatherCall, control: Control): Promise<void>;
  rmsNorm(call: RmsNormCall, control: Control): Promise<void>;
  reluAttention(call: ReluAttentionCall, control: Control): Promise<void>;
  reluAttentionBackward(call: ReluAttentionBackwardCall, control: Control): Promise<void>;
  depthwiseConv(call: DepthwiseConvCall, control: Control): Promise<void>;
  depthwiseConvWeights(call: DepthwiseConvWeightsCall, control: Control): Promise<void>;
  route(call: RouteCall, control: Control): Promise<void>;
  routeBackward(call: RouteBackwardCall, control: Control): Promise<void>;
  focus(call: FocusCall, control: Control): Promise<void>;
  focusBackward(call: FocusBackwardCall, control: Control): Promise<void>;
}
