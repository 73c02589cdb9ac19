/** Finds the sizes of kernels that are fastest on a device. */
import { BackendError, ParameterError, SaccadeError } from '../../errors';
import { checkControl, checkOptions } from '../../ops/check';
import type { Tensor } from '../../tensor/tensor';
import { createRuntime, type Runtime } from '../runtime';
import { adapterOf, type GpuOptions, type GpuSizes, identifyAdapter, openDevice } from './adapter';
import { Device } from './device';
import { faultOfSizes } from './size-schemas';
import { type Sizes, tableSizes } from './sizes';
import { type Course, isFaster, type Racer, type Result, race, type Standing } from './tune-race';
import { TUNABLE, type Tunable, type Work } from './tune-works';

export interface TuneOptions extends Pick<GpuOptions, 'device' | 'powerPreference' | 'subgroups'> {
  /** Smaller problems and fewer rounds: a first impression in less time. Default false. */
  readonly quick?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called now and then with the share of the work done, from 0 to 1, and what is done next. */
  readonly onProgress?: ((share: number, what: string) => void) | undefined;
}

/** Sizes that were tried for an entry of the table. */
export interface TunedCandidate {
  readonly entry: string;
  readonly sizes: unknown;
  /** In words. */
  readonly label: string;
  /** Whether the table has them for such devices. */
  readonly isTable: boolean;
  /**
   * `'kept'`: the fastest, or the table's where none beats them by more than the noise. `'faster'` or `'slower'` than
   * the table's, which are slower themselves where others are kept, or `'as fast'`. `'wrong'`: the results differ from the reference. `'refused'`: they did not run.
   * `'too large'` for the device.
   */
  readonly verdict: 'kept' | 'faster' | 'as fast' | 'slower' | 'wrong' | 'refused' | 'too large';
  /** Why, where they were not timed. */
  readonly reason?: string;
  /** Milliseconds of the calls that are timed. */
  readonly ms?: number;
  /** Time over that of the table's sizes, the median of rounds. */
  readonly ratio?: number;
}

export interface TuneReport {
  /** Adapter and driver. */
  readonly device: string;
  /** What beat the table's, by entry: for `createRuntime({ backend: 'webgpu', webgpu: { sizes } })` on this device. */
  readonly sizes: GpuSizes;
  readonly candidates: readonly TunedCandidate[];
}

const OPTION_NAMES = ['device', 'powerPreference', 'subgroups', 'quick', 'signal', 'onProgress'];

const COURSES: Readonly<Record<'quick' | 'thorough', Course>> = {
  quick: { sample: 20, heats: 1, finals: 3 },
  thorough: { sample: 60, heats: 3, finals: 11 },
};

/** Of a result's largest number; a kernel that is wrong is so by far more. */
const TOLERANCE = 1e-4;

/**
 * Measures which sizes of kernels are the fastest on a device, in Node or a page: checks each candidate's results against
 * the reference, then times batches of calls in interleaved rounds. It takes from seconds to a few minutes, in which
 * nothing else should use the GPU. The command `saccade tune` does the same and stores what it finds, for Node.
 *
 * @throws {UnsupportedError} without a GPU, or without the subgroups asked for
 * @throws {BackendError} if the device is lost, or computes with no sizes as it should
 */
export async function tuneWebGpu(options: TuneOptions = {}): Promise<TuneReport> {
  checkOptions('tuneWebGpu', options, OPTION_NAMES);
  const { quick = false, signal, onProgress, ...asked } = options;
  checkControl({ signal, onProgress: onProgress as (share: number) => void });
  if (typeof quick !== 'boolean') throw new ParameterError(`quick must be true or false, got ${quick}`);
  const { device, isOwn } = await openDevice(asked);
  try {
    const tuning = await Tuning.open(device, { subgroups: asked.subgroups, quick, signal });
    const names = Object.keys(TUNABLE) as (keyof Sizes)[];
    const sizes: Record<string, unknown> = {};
    const candidates: TunedCandidate[] = [];
    for (const [at, name] of names.entries()) {
      const tried = await tuning.entry(name, (share, what) =>
        onProgress?.((at + share) / names.length, `${name}, ${what}`),
      );
      const kept = tried.find(({ verdict }) => verdict === 'kept') as TunedCandidate;
      if (!kept.isTable) sizes[name] = kept.sizes;
      candidates.push(...tried);
    }
    return { device: identifyAdapter(adapterOf(device)), sizes, candidates };
  } finally {
    if (isOwn) device.destroy();
  }
}

/** A candidate that computes as it should. */
interface Ready {
  readonly at: number;
  readonly racer: Racer;
}

type Failure = Required<Pick<TunedCandidate, 'verdict' | 'reason'>>;

class Tuning {
  static async open(gpu: GPUDevice, asked: Pick<TuneOptions, 'subgroups' | 'quick' | 'signal'>): Promise<Tuning> {
    return new Tuning(await Device.open({ device: gpu, subgroups: asked.subgroups, sizes: {} }), asked);
  }

  private constructor(
    readonly device: Device,
    readonly asked: Pick<TuneOptions, 'subgroups' | 'quick' | 'signal'>,
  ) {}

  /** All candidates for an entry of the table, its own first. */
  async entry<Name extends keyof Sizes>(
    name: Name,
    onProgress: (share: number, what: string) => void,
  ): Promise<TunedCandidate[]> {
    const { candidates, label, trials, timed } = TUNABLE[name] as Tunable<Sizes[Name]>;
    const { isSoftware } = this.device;
    const quick = this.asked.quick === true;
    const table = tableSizes(this.device)[name];
    const isTable = (sizes: Sizes[Name]) => JSON.stringify(sizes) === JSON.stringify(table);
    const all = [table, ...candidates(table, this.device).filter((sizes) => !isTable(sizes))];
    const failures = new Map<number, Failure>();
    const ready: Ready[] = [];
    const source = await this.#open({});
    const runtimes = [source];
    try {
      const gates = await gatesOf(trials(quick));
      const works = timed(isSoftware, quick).map((work) => ({ work, inputs: work.inputs(source) }));
      for (const [at, sizes] of all.entries()) {
        onProgress((0.5 * at) / all.length, `check ${at + 1} of ${all.length}`);
        const excess = faultOfSizes('sizes', { [name]: sizes }, this.device);
        if (excess) {
          failures.set(at, { verdict: 'too large', reason: excess });
          continue;
        }
        const runtime = await this.#open({ [name]: sizes });
        runtimes.push(runtime);
        const racer = this.#racer(runtime, works);
        const failure = await this.#try(runtime, gates, racer, source);
        if (failure) failures.set(at, failure);
        else ready.push({ at, racer });
      }
      if (ready.length === 0)
        throw new BackendError(
          `no sizes for ${name} compute as they should on this device: ${failures.get(0)?.reason}`,
        );
      const result = await race(
        ready.map(({ racer }) => racer),
        COURSES[quick ? 'quick' : 'thorough'],
        (share) => onProgress(0.5 + share / 2, 'timing'),
      );
      return all.map((sizes, at): TunedCandidate => {
        const place = ready.findIndex((other) => other.at === at);
        const common = { entry: name, sizes, label: label(sizes), isTable: at === 0 };
        const failure = failures.get(at);
        return failure ? { ...common, ...failure } : { ...common, ...judged(result, place) };
      });
    } finally {
      for (const runtime of runtimes) runtime.dispose();
    }
  }

  #open(sizes: GpuSizes): Promise<Runtime> {
    return createRuntime({
      backend: 'webgpu',
      webgpu: { device: this.device.gpu, subgroups: this.asked.subgroups, sizes },
    });
  }

  /** Computes what is checked, and once what is timed. */
  async #try(runtime: Runtime, gates: readonly Gate[], racer: Racer, source: Runtime): Promise<Failure | undefined> {
    try {
      for (const gate of gates) {
        const error = await gate(runtime, this.asked.signal);
        if (!(error <= TOLERANCE))
          return {
            verdict: 'wrong',
            reason: `off by ${error.toPrecision(2)} of the largest number, allowed are ${TOLERANCE}`,
          };
      }
      await racer(1);
      return undefined;
    } catch (error) {
      this.asked.signal?.throwIfAborted();
      if (!(error instanceof SaccadeError)) throw error;
      // On a device that is lost there is nothing more to try.
      await source.finish();
      return { verdict: 'refused', reason: error.message };
    }
  }

  /** Times calls on inputs that all candidates share. */
  #racer(runtime: Runtime, works: readonly { work: Work; inputs: Readonly<Record<string, Tensor>> }[]): Racer {
    const shared = works.map(({ work, inputs }) => ({
      work,
      inputs: Object.fromEntries(
        Object.entries(inputs).map(([name, tensor]) => [
          name,
          runtime.fromGpuBuffer(tensor.gpuBuffer.buffer, tensor.shape, tensor.dtype),
        ]),
      ),
    }));
    const { signal } = this.asked;
    return async (calls) => {
      await runtime.finish();
      const start = performance.now();
      for (let call = 0; call < calls; call++) {
        for (const { work, inputs } of shared) {
          for (const result of await work.run(inputs, { signal })) result.dispose();
        }
      }
      await runtime.finish();
      return (performance.now() - start) / calls;
    };
  }
}

/** The largest error of a call on a runtime, over the largest number of the result. */
type Gate = (runtime: Runtime, signal: AbortSignal | undefined) => Promise<number>;

/** Gates for calls, which know what the reference computes. */
async function gatesOf(works: readonly Work[]): Promise<Gate[]> {
  using reference = await createRuntime({ backend: 'reference' });
  const compute = (work: Work, runtime: Runtime, signal?: AbortSignal) =>
    runtime.scope(async () => {
      const results = await work.run(work.inputs(runtime), { signal });
      return Promise.all(results.map((tensor) => tensor.read()));
    });
  const gates: Gate[] = [];
  for (const work of works) {
    const expected = await compute(work, reference);
    gates.push(async (runtime, signal) => {
      const results = await compute(work, runtime, signal);
      return Math.max(...results.map((result, at) => errorOf(result, expected[at] as ArrayLike<number>)));
    });
  }
  return gates;
}

function errorOf(result: ArrayLike<number>, expected: ArrayLike<number>): number {
  let [worst, largest] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i] as number));
    // NaN is the worst of all and stays.
    worst = Math.max(worst, Math.abs((result[i] as number) - (expected[i] as number)));
  }
  return worst / largest;
}

function judged({ ms, standings, winner }: Result, place: number): Pick<TunedCandidate, 'verdict' | 'ms' | 'ratio'> {
  const standing = standings[place] as Standing;
  const { ratio, noise } = standing;
  const isSlower = ratio > 1 + noise || (place === 0 && winner !== 0);
  const compared = isSlower ? 'slower' : isFaster(standing) ? 'faster' : 'as fast';
  // As if all had been timed in the same rounds.
  return { verdict: place === winner ? 'kept' : compared, ms: ms * ratio, ratio };
}
