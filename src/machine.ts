/** The machine of a measurement, which reports and benchmarks show beside every number. */
import { version } from '../package.json';

export interface Machine {
  /** Model name of the processor; 'unknown' in browsers. */
  readonly cpu: string;
  /** Cores that this process may use. */
  readonly cores: number;
  /** Main memory; undefined if the platform does not say. Browsers round it down. */
  readonly memoryGiB?: number;
  /** Operating system and architecture, such as 'linux x64'. */
  readonly platform: string;
  /** Node and its version, or the browser's user agent. */
  readonly runtime: string;
  /** Version of this package. */
  readonly saccade: string;
  /** When the description was made, ISO 8601 in UTC. */
  readonly date: string;
}

/** Describes the machine that this code runs on, in Node or a browser. */
export async function describeMachine(): Promise<Machine> {
  const common = { saccade: version, date: new Date().toISOString() };
  if (globalThis.process?.versions?.node) {
    const { cpus, totalmem } = process.getBuiltinModule('node:os');
    return {
      cpu: cpus()[0]?.model.trim() || 'unknown',
      cores: coreCount(),
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      platform: `${process.platform} ${process.arch}`,
      runtime: `Node ${process.versions.node}`,
      ...common,
    };
  }
  const { userAgent, deviceMemory, platform } = navigator as Navigator & { deviceMemory?: number };
  return {
    cpu: 'unknown',
    cores: coreCount(),
    ...(deviceMemory !== undefined && { memoryGiB: deviceMemory }),
    platform,
    runtime: userAgent,
    ...common,
  };
}

/** Cores that this process or page may use. */
export function coreCount(): number {
  if (!globalThis.process?.versions?.node) return navigator.hardwareConcurrency;
  return process.getBuiltinModule('node:os').availableParallelism();
}

/** One line: what a table or a figure says about where it was measured. */
export function formatMachine({ cpu, cores, memoryGiB, platform, runtime, saccade, date }: Machine): string {
  const facts = [
    cpu !== 'unknown' && cpu,
    `${cores} ${cores === 1 ? 'core' : 'cores'}`,
    memoryGiB !== undefined && `${memoryGiB} GiB`,
    platform,
    runtime,
    `saccade ${saccade}`,
    date.slice(0, 10),
  ];
  return facts.filter(Boolean).join(', ');
}

/** What a machine's stored run is called: by its processor and cores, such as amd-epyc-2-cores.json. */
export function machineFile({ cpu, cores }: Machine): string {
  const words =
    cpu
      .toLowerCase()
      .replace(/\((r|tm|c)\)/g, '')
      .match(/[a-z0-9]+/g) ?? [];
  return `${[...words, cores, cores === 1 ? 'core' : 'cores'].join('-')}.json`;
}
