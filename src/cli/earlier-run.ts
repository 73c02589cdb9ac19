import { isRecord } from '../check';
import { ParameterError } from '../errors';
import { MOST_BYTES, readIfThere } from './read-tensors';
import { parsedJson } from './saved';

/** How messages name a run, and what of it may differ. */
interface RunNames {
  readonly run: string;
  readonly settings: string;
  /** What --out is; default folder. */
  readonly place?: string;
}

/**
 * What the file at `path` tells of an earlier run with the same settings, `described`; undefined if there is no file.
 *
 * @throws {ParameterError} a run where none is to be gone on with, or one of other settings; {ParseError} no JSON
 */
export async function earlierRun(
  path: string,
  described: Readonly<Record<string, unknown>>,
  resumes: boolean,
  { run, settings, place = 'folder' }: RunNames,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const bytes = await readIfThere(path, MOST_BYTES);
  if (!bytes) return undefined;
  if (!resumes)
    throw new ParameterError(`${path} is of a ${run} already: go on with --resume, or pass another ${place} as --out`);
  const found = parsedJson(path, bytes);
  const isSame =
    isRecord(found) &&
    Object.entries(described).every(([name, value]) => JSON.stringify(found[name]) === JSON.stringify(value));
  if (!isSame)
    throw new ParameterError(`${path} is of other ${settings}: pass the same ones to go on, or another --out`);
  return found;
}
