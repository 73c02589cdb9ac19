import { open } from 'node:fs/promises';
import { DTypeError, ParameterError, ParseError } from '../errors';
import { readSafetensors } from '../io';
import type { Method } from '../methods/define';
import { DTYPES, type DType } from '../tensor/dtype';
import type { HostTensor } from '../tensor/host';

/** What Node reads into one buffer. */
const LARGEST = 2 ** 31 - 1;

/**
 * The tensors of a safetensors file, if they are the inputs of a method (or of what else has inputs), perhaps optional
 * ones, and those named in `more`, and such as a runtime can hold.
 */
export async function readTensorsOf(
  method: Pick<Method, 'name' | 'inputs' | 'optional'>,
  path: string,
  more: { readonly required?: readonly string[]; readonly optional?: readonly string[] } = {},
): Promise<Record<string, HostTensor<DType>>> {
  const found = await readTensors(path);
  const expected = [...Object.keys(method.inputs), ...(more.required ?? [])];
  const optional = [...Object.keys(method.optional ?? {}), ...(more.optional ?? [])];
  const missing = expected.filter((key) => !Object.hasOwn(found, key));
  const unknown = Object.keys(found).filter((key) => ![...expected, ...optional].includes(key));
  if (missing.length > 0 || unknown.length > 0) {
    const fault = missing.length > 0 ? `has no tensor '${missing[0]}'` : `has a tensor '${unknown[0]}' too many`;
    const takes = [expected.join(', '), ...(optional.length > 0 ? [`optionally ${optional.join(', ')}`] : [])];
    throw new ParameterError(`${path} ${fault}: ${method.name} takes ${takes.join(' and ')}`);
  }
  for (const [key, { dtype }] of Object.entries(found)) {
    if (!DTYPES.some((known) => known === dtype)) {
      throw new DTypeError(`${key} in ${path} must be one of ${DTYPES.join(', ')}, got ${dtype}`);
    }
  }
  return found as Record<string, HostTensor<DType>>;
}

async function readTensors(path: string): Promise<Record<string, HostTensor>> {
  const bytes = await readBytes(path);
  try {
    return readSafetensors(bytes);
  } catch (error) {
    if (error instanceof ParseError) throw new ParseError(`${path}: ${error.message}`);
    throw error;
  }
}

/** The bytes of a file; a folder, or a file beyond what Node reads at once, is refused by name. */
export async function readBytes(path: string): Promise<Uint8Array> {
  const file = await open(path);
  try {
    const stats = await file.stat();
    if (stats.isDirectory()) throw new ParameterError(`cannot read '${path}': it is a folder`);
    if (stats.size > LARGEST) {
      const size = (stats.size / 2 ** 30).toFixed(1);
      throw new ParameterError(`cannot read '${path}': expected at most 2 GiB, got ${size} GiB`);
    }
    return await file.readFile();
  } finally {
    await file.close();
  }
}
