/** The file of tuned sizes that `saccade tune` writes, by device; in Node only. */
import * as valibot from 'valibot';
import { cacheFolder } from '../../cache-folder';
import { ParseError } from '../../errors';
import type { GpuSizes } from '../../runtime/webgpu/adapter';
import type { DeviceTraits } from '../../runtime/webgpu/plan';
import { faultOfIssue, faultOfSizes } from './schemas';

interface Tuned {
  /** The day, ISO 8601. */
  readonly date: string;
  /** Sizes that were faster than the tables'. */
  readonly sizes: GpuSizes;
}

/** With the file that holds it. */
export interface TunedSizes extends Tuned {
  readonly path: string;
}

const TUNED = valibot.strictObject(
  {
    date: valibot.pipe(valibot.string('a day such as 2026-11-25'), valibot.isoDate('a day such as 2026-11-25')),
    sizes: valibot.unknown(),
  },
  'the fields date, sizes and no others',
);

const FILE = valibot.strictObject(
  { devices: valibot.record(valibot.string(), valibot.unknown(), 'an object') },
  'an object with the field devices and no others',
);

/** Its default path. */
export function tunedPath(): string {
  const { join } = process.getBuiltinModule('node:path');
  return join(cacheFolder(), 'webgpu.json');
}

/**
 * The sizes that are stored for a device's adapter and driver.
 * @throws {ParseError} if the file is damaged, or its sizes do not fit this version or device
 */
export function readTuned(device: DeviceTraits): TunedSizes | undefined {
  const found = readFile();
  if (!found) return undefined;
  const { path, text } = found;
  const refuse = (fault: string) =>
    new ParseError(`${path}: ${fault}; delete the file, or run \`saccade tune\`, which replaces what is wrong in it`);
  const { devices, fault } = parse(text);
  if (fault) throw refuse(fault);
  const key = device.identity;
  if (!devices || !Object.hasOwn(devices, key)) return undefined;
  const at = `devices[${JSON.stringify(key)}]`;
  const { success, output, issues } = valibot.safeParse(TUNED, devices[key]);
  if (!success) throw refuse(faultOfIssue(at, issues[0]));
  const { date, sizes } = output;
  const wrong = faultOfSizes(`${at}.sizes`, sizes, device);
  if (wrong) throw refuse(wrong);
  return { path, date, sizes: sizes as GpuSizes };
}

/** The text of the file with new sizes for a device; those of others are kept unless they are damaged. */
export function withTuned(text: string, device: string, tuned: Tuned): string {
  const devices = { ...parse(text).devices, [device]: tuned };
  return `${JSON.stringify({ devices }, undefined, 2)}\n`;
}

function parse(text: string): { devices?: Readonly<Record<string, unknown>>; fault?: string } {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    return { fault: `expected JSON, got what it is not: ${(error as Error).message.replaceAll(/\s+/g, ' ')}` };
  }
  const { success, output, issues } = valibot.safeParse(FILE, content);
  return success ? output : { fault: faultOfIssue('the file', issues[0]) };
}

/** Most bytes: enough for the sizes of hundreds of devices. */
const MOST_BYTES = 2 ** 20;

/** The text of such a file. Throws if it is too large, or no regular file: reading others may never end. */
export function readTunedText(path: string): string {
  const { readFileSync, statSync } = process.getBuiltinModule('node:fs');
  const stats = statSync(path);
  if (!stats.isFile()) throw new Error('it is no regular file');
  if (stats.size > MOST_BYTES) throw new Error(`it has ${stats.size} bytes, and at most ${MOST_BYTES} are expected`);
  return readFileSync(path, 'utf8');
}

/** Undefined if there is none. */
function readFile(): { path: string; text: string } | undefined {
  let path: string | undefined;
  try {
    path = tunedPath();
    return { path, text: readTunedText(path) };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // Without a home there is no file either.
    if (path === undefined || code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new ParseError(`${path} cannot be read: ${message}; delete it, or make it readable`);
  }
}
