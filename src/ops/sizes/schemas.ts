/** Checks sizes of kernels that came from outside, for all ops that can be tuned. */
import * as valibot from 'valibot';
import type { DeviceTraits } from '../../runtime/webgpu/plan';
import { SCHEMAS } from '../attention/webgpu/size-schemas';
import type { EntrySchema, Needs } from './schema';

type Offer = Pick<DeviceTraits, 'subgroupSize'> & {
  readonly limits: Pick<DeviceTraits['limits'], 'maxComputeInvocationsPerWorkgroup' | 'maxComputeWorkgroupStorageSize'>;
};

const NAMES = Object.keys(SCHEMAS);

/** The first thing that is wrong with sizes that came from outside: where, what was expected and what came. */
export function faultOfSizes(path: string, value: unknown, device: Offer): string | undefined {
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    return `${path}: expected an object with any of the fields ${NAMES.join(', ')}, got ${show(value)}`;
  for (const [name, sizes] of Object.entries(value)) {
    const at = `${path}.${name}`;
    if (!NAMES.includes(name)) return `${at}: expected only the fields ${NAMES.join(', ')}, got ${show(sizes)}`;
    const { schema, needs } = SCHEMAS[name as keyof typeof SCHEMAS] as EntrySchema<unknown>;
    const { success, output, issues } = valibot.safeParse(schema, sizes);
    if (!success) return faultOfIssue(at, issues[0]);
    for (const need of needs(output)) {
      const excess = excessOf(need, device);
      if (excess) return `${at}${need.path}: ${excess}`;
    }
  }
  return undefined;
}

function excessOf({ invocations, bytes = 0, subgroup }: Needs, { limits, subgroupSize }: Offer): string | undefined {
  const { maxComputeInvocationsPerWorkgroup: most, maxComputeWorkgroupStorageSize: mostBytes } = limits;
  if (invocations > most)
    return `expected at most ${most} invocations in a workgroup, as many as this device has, got ${invocations}`;
  if (bytes > mostBytes)
    return `expected at most ${mostBytes} bytes of workgroup memory, as many as this device has, got ${bytes}`;
  if (subgroup !== undefined && subgroup !== subgroupSize) {
    const size = subgroupSize
      ? `the ${subgroupSize} lanes of this device's subgroups`
      : 'shares to be false, as this device has no subgroups of one size';
    return `expected ${size}, got ${subgroup}`;
  }
  return undefined;
}

/** An issue of a schema whose messages say what is expected, in the value at `path`. */
export function faultOfIssue(path: string, { path: within, message, input }: valibot.BaseIssue<unknown>): string {
  const at = [path, ...(within ?? []).map(({ key }) => String(key))].join('.');
  return `${at}: expected ${message}, got ${show(within ? within.at(-1)?.value : input)}`;
}

/** Short, whatever it is. */
function show(value: unknown): string {
  const text = textOf(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function textOf(value: unknown): string {
  if (typeof value !== 'object' && typeof value !== 'string') return String(value);
  try {
    return JSON.stringify(value);
  } catch {
    return 'an object that is nested too deep or in itself';
  }
}
