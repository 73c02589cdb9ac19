/** What `tuneWebGpu` does: checks the candidates for each entry of the tables of sizes, and races those that are right. */
import { BackendError, SaccadeError } from '../errors';
import { checkResult, largestOf, WrongResultError } from '../measure/gate';
import { timeCalls } from '../measure/timing';
import { TUNABLE } from '../ops/attention/webgpu/tunable';
import { faultOfSizes } from '../ops/sizes/schemas';
import type { Tunable, Work } from '../ops/sizes/tunable';
import { ReferenceBackend } from '../runtime/reference/backend';
import { type Runtime, runtimeOn } from '../runtime/runtime';
import { adapterOf, type GpuSizes, identifyAdapter, openDevice } from '../runtime/webgpu/adapter';
import { WebGpuBackend } from '../runtime/webgpu/backend';
import { Device } from '../runtime/webgpu/device';
import type { Tensor } from '../tensor/tensor';
import { type Course, isFaster, type Racer, type Result, race, type Standing } from './race';
import type { TunedCandidate, TuneOptions, TuneReport } from './report';

const COURSES: Readonly<Record<'quick' | 'thorough', Course>> = {
  quick: { sample: 20, heats: 1, finals: 3 },
  thorough: { sample: 60, heats: 3, finals: 11 },
};

/** What `tuneWebGpu` does once its options are checked. */
export async function tune({ quick, signal, onProgress, ...asked }: TuneOptions): Promise<TuneReport> {
  const { device, isOwn } = await openDevice(asked);
  try {
    const tuning = await Tuning.open(device, { subgroups: asked.subgroups, quick, signal });
    const entries = Object.entries(TUNABLE);
    const sizes: Record<string, unknown> = {};
    const candidates: TunedCandidate[] = [];
    for (const [at, [name, tunable]] of entries.entries()) {
      const tried = await tuning.entry(name, tunable as Tunable<unknown>, (share, what) =>
        onProgress?.((at + share) / entries.length, `${name}, ${what}`),
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

/** A candidate whose results are right. */
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

  /** Tries all candidates for an entry, the table's first. */
  async entry(
    name: string,
    { table: tableOf, candidates, label, trials, timed }: Tunable<unknown>,
    onProgress: (share: number, what: string) => void,
  ): Promise<TunedCandidate[]> {
    const { isSoftware } = this.device;
    const quick = this.asked.quick === true;
    const table = tableOf(this.device);
    const isTable = (sizes: unknown) => JSON.stringify(sizes) === JSON.stringify(table);
    const all = [table, ...candidates(table, this.device).filter((sizes) => !isTable(sizes))];
    const failures = new Map<number, Failure>();
    const ready: Ready[] = [];
    const source = await this.#open({});
    const runtimes = [source];
    try {
      const gates = await gatesOf(trials(quick));
      const works = timed(isSoftware, quick).map((work) => ({ work, inputs: work.inputs(source) }));
      for (const [at, sizes] of all.entries()) {
        await onProgress((0.5 * at) / all.length, `check ${at + 1} of ${all.length}`);
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

  async #open(sizes: GpuSizes): Promise<Runtime> {
    const { subgroups } = this.asked;
    return runtimeOn(await WebGpuBackend.create({ device: this.device.gpu, subgroups, sizes }));
  }

  /** Runs what is checked, and once what is timed. */
  async #try(runtime: Runtime, gates: readonly Gate[], racer: Racer, source: Runtime): Promise<Failure | undefined> {
    try {
      for (const gate of gates) await gate(runtime, this.asked.signal);
      await racer(1);
      return undefined;
    } catch (error) {
      this.asked.signal?.throwIfAborted();
      if (error instanceof WrongResultError) return { verdict: 'wrong', reason: error.message };
      if (!(error instanceof SaccadeError)) throw error;
      // Rejects if the device is lost, which ends the tuning.
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
    const call = async () => {
      for (const { work, inputs } of shared) {
        for (const result of await work.run(inputs, { signal })) result.dispose();
      }
    };
    return (calls) => timeCalls(runtime, call, calls);
  }
}

/** Throws a WrongResultError for a call on a runtime whose results differ from the reference's. */
type Gate = (runtime: Runtime, signal: AbortSignal | undefined) => Promise<void>;

/** Gates for calls, by the results of the reference. */
async function gatesOf(works: readonly Work[]): Promise<Gate[]> {
  using reference = runtimeOn(new ReferenceBackend());
  const compute = (work: Work, runtime: Runtime, signal?: AbortSignal) =>
    Promise.all(runtime.scope(() => work.run(work.inputs(runtime), { signal }).map((tensor) => tensor.read())));
  const gates: Gate[] = [];
  for (const work of works) {
    const expected = await compute(work, reference);
    gates.push(async (runtime, signal) => {
      for (const [at, result] of (await compute(work, runtime, signal)).entries()) {
        const numbers = expected[at] as ArrayLike<number>;
        const expectation = { known: [{ at: 0, numbers }], largest: largestOf(numbers), of: 'largest number' };
        checkResult('it', result as ArrayLike<number>, [expectation]);
      }
    });
  }
  return gates;
}

function judged({ ms, standings, winner }: Result, place: number): Pick<TunedCandidate, 'verdict' | 'ms' | 'ratio'> {
  const standing = standings[place] as Standing;
  const { ratio, noise } = standing;
  const isSlower = ratio > 1 + noise || (place === 0 && winner !== 0);
  const compared = isSlower ? 'slower' : isFaster(standing) ? 'faster' : 'as fast';
  // As if all had been timed in the same rounds.
  return { verdict: place === winner ? 'kept' : compared, ms: ms * ratio, ratio };
}
