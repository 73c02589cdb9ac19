/** Finds a GPU: the browser's, or in Node by the optional package `webgpu`. */
import { ParameterError, UnsupportedError } from '../../errors';

/** A `GPUDevice`, for callers who pass their own; spelled out so that no types need to be installed. */
export interface GpuDeviceLike {
  readonly limits: object;
  readonly features: object;
  readonly queue: object;
  readonly lost: Promise<unknown>;
}

/** A `GPUBuffer`; cast it to that where the types are installed. */
export interface GpuBufferLike {
  readonly size: number;
  readonly usage: number;
  readonly mapState: string;
  destroy(): void;
}

export interface GpuOptions {
  /** The caller's device, which the runtime does not destroy; default: one of its own, with all limits of the adapter. */
  readonly device?: GpuDeviceLike | undefined;
  /** Which adapter, if there are several; default: the fastest. */
  readonly powerPreference?: 'low-power' | 'high-performance' | undefined;
  /** Whether kernels may use subgroups, or their size, a power of two; default: if the adapter has them, of any size. */
  readonly subgroups?: boolean | number | undefined;
  /** Sizes of kernels that `tuneWebGpu()` found; default: in Node those that `saccade tune` stored, else those of tables. */
  readonly sizes?: GpuSizes | undefined;
}

/** Sizes of kernels, by the entry of the library's tables that they replace; they differ between versions. */
export type GpuSizes = Readonly<Record<string, unknown>>;

export interface OpenDevice {
  readonly device: GPUDevice;
  /** Whether it is destroyed with the runtime. */
  readonly isOwn: boolean;
}

const OPTION_NAMES = ['device', 'powerPreference', 'subgroups', 'sizes'];
const WANTED_LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupsPerDimension',
] as const;
export type GpuLimits = Readonly<Record<(typeof WANTED_LIMITS)[number], number>>;

const WANTED_FEATURES = ['subgroups', 'subgroup-size-control', 'timestamp-query'] as const;

/** A device with everything its adapter offers. @throws {UnsupportedError} with what is missing and what to do */
export async function openDevice(options: GpuOptions): Promise<OpenDevice> {
  checkOptions(options);
  if (options.device) return { device: options.device as GPUDevice, isOwn: false };
  const gpu = await findGpu();
  const adapter = await gpu.requestAdapter({ powerPreference: options.powerPreference ?? 'high-performance' });
  if (!adapter)
    throw new UnsupportedError(`WebGPU found no adapter: ${isNode() ? NO_ADAPTER.node : NO_ADAPTER.browser}`);
  try {
    const device = await adapter.requestDevice({
      requiredFeatures: WANTED_FEATURES.filter((name) => adapter.features.has(name)) as GPUFeatureName[],
      requiredLimits: limitsOf(adapter),
    });
    return { device, isOwn: true };
  } catch (error) {
    throw new UnsupportedError(
      `the adapter "${describeAdapter(adapter.info)}" refused a device: ${messageOf(error)}; close other pages that use the GPU, update its driver, or use backend 'wasm'`,
    );
  }
}

/** Empty on older platforms. */
export const adapterOf = ({ adapterInfo }: GPUDevice): Partial<GPUAdapterInfo> => adapterInfo ?? {};

/** The adapter's name. */
export function describeAdapter({ vendor, architecture, device, description }: Partial<GPUAdapterInfo>): string {
  return description || [vendor, architecture, device].filter(Boolean).join(' ') || 'unnamed';
}

/** Identifies an adapter and its driver. */
export function identifyAdapter({ vendor, architecture, device, description }: Partial<GPUAdapterInfo>): string {
  return [vendor, architecture, device, description].filter(Boolean).join(', ') || 'unnamed';
}

/** Whether the adapter computes on the CPU. */
export function isSoftware(info: Partial<GPUAdapterInfo>): boolean {
  return (
    info.isFallbackAdapter === true ||
    /llvmpipe|lavapipe|swiftshader|software|\bwarp\b/i.test(`${describeAdapter(info)} ${info.architecture}`)
  );
}

function checkOptions(options: GpuOptions): void {
  if (options === null || typeof options !== 'object')
    throw new ParameterError(`webgpu must be an object, got ${options}`);
  for (const name of Object.keys(options)) {
    if (!OPTION_NAMES.includes(name))
      throw new ParameterError(`webgpu has no option '${name}': expected ${OPTION_NAMES.join(', ')}`);
  }
  const { device, powerPreference, subgroups } = options;
  if (device !== undefined && typeof (device as GPUDevice | null)?.createComputePipelineAsync !== 'function')
    throw new ParameterError('webgpu.device must be a GPUDevice');
  if (powerPreference !== undefined && !['low-power', 'high-performance'].includes(powerPreference)) {
    throw new ParameterError(
      `webgpu.powerPreference must be 'low-power' or 'high-performance', got '${powerPreference}'`,
    );
  }
  const isSize = typeof subgroups === 'number' && subgroups >= 1 && Number.isInteger(Math.log2(subgroups));
  if (subgroups !== undefined && typeof subgroups !== 'boolean' && !isSize)
    throw new ParameterError(`webgpu.subgroups must be true, false or a power of two, got ${subgroups}`);
}

/** The adapter's limits that matter to kernels: the defaults allow only 128 MiB per binding on any GPU. */
function limitsOf({ limits }: GPUAdapter): Record<string, number> {
  return Object.fromEntries(WANTED_LIMITS.map((name) => [name, limits[name]]));
}

const isNode = () => globalThis.process?.versions?.node !== undefined;

const NO_ADAPTER = {
  node: 'install a Vulkan driver (on Debian and Ubuntu `apt install mesa-vulkan-drivers` has those of AMD and Intel and one in software; NVIDIA brings its own)',
  browser: "the browser has WebGPU but no usable GPU: update its driver, look at chrome://gpu, or use backend 'wasm'",
};

/** From the package webgpu, for the whole process: collecting it before its devices crashes. */
let implementation: GPU | undefined;

async function findGpu(): Promise<GPU> {
  const found = globalThis.navigator?.gpu ?? implementation;
  if (found) return found;
  if (!isNode()) {
    throw new UnsupportedError(
      `this ${typeof window === 'undefined' ? 'platform' : 'page'} has no WebGPU: serve it over https or from localhost to a browser that has it (current Chrome, Edge, Firefox, Safari), or use backend 'wasm'`,
    );
  }
  // Not a literal, so that bundlers for browsers leave it alone.
  const name = 'webgpu';
  try {
    const { create } = (await import(/* webpackIgnore: true */ /* @vite-ignore */ name)) as typeof import('webgpu');
    implementation ??= create([]) as GPU;
    return implementation;
  } catch (error) {
    throw new UnsupportedError(
      (error as { code?: string }).code === 'ERR_MODULE_NOT_FOUND'
        ? "backend 'webgpu' needs the package webgpu in Node: npm install webgpu"
        : `the package webgpu cannot be loaded: ${messageOf(error)}; on Linux it needs glibc 2.34 and libstdc++ 12 or later (Debian 12, Ubuntu 22.04), else use backend 'wasm'`,
    );
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error)).trim();
