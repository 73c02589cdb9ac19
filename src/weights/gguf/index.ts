/** GGUF files, alone or split, as decoders take them: names, order of rows and configuration are those of Hugging Face. */
import { show } from '../../check';
import { ParseError } from '../../errors';
import { quote } from '../../io/bytes';
import type { ByteSource } from '../source';
import type { ReaderOptions, StoredTensor, WeightFile } from '../stored';
import { modelOf } from './model';
import { type GgufPart, readPart } from './parse';

/** `-00002-of-00005.gguf` */
const PART = /-(\d{5})-of-(\d{5})(\.gguf)$/i;
const MOST_PARTS = 1024;

/**
 * A GGUF file of version 2 or 3; of one that is split, any part. Tensors of decoders that are
 * known have Hugging Face's names, and their configuration is `config`; others keep their names.
 *
 * @throws {ParseError} that names the file, and the tensor or the key
 */
export async function readGguf(source: ByteSource, options: ReaderOptions = {}): Promise<WeightFile> {
  const part = await readPart(source, options);
  const whole = numberOf(part, source, 'split.count') > 1 ? await joined(source, part, options) : part;
  return { format: 'gguf', metadata: whole.metadata, ...(await modelOf(source.name, whole, options)) };
}

/** The pairs of the first part, and the tensors of all. */
async function joined(source: ByteSource, given: GgufPart, options: ReaderOptions): Promise<GgufPart> {
  const [count, number] = [numberOf(given, source, 'split.count'), numberOf(given, source, 'split.no')];
  const what = `${source.name} is part ${number + 1} of ${count}`;
  const base = source.name.replace(/[?#].*$/, '').replace(/^.*[\\/]/, '');
  if (!(count <= MOST_PARTS && number < count && PART.test(base)))
    throw new ParseError(`${what}: its name must end in -00001-of-00002.gguf, and alike`);
  if (!options.beside) throw new ParseError(`${what}: open it from its folder`);
  const tensors = new Map<string, StoredTensor>();
  let metadata = given.metadata;
  for (let no = 0; no < count; no++) {
    const name = base.replace(PART, (_, __, of, end) => `-${String(no + 1).padStart(5, '0')}-of-${of}${end}`);
    const file = no === number ? source : await options.beside(name);
    if (!file) throw new ParseError(`${what}: there is no ${name} beside it`);
    const part = no === number ? given : await readPart(file, options);
    for (const [key, expected] of [['split.count', count] as const, ['split.no', no] as const])
      if (part.metadata[key] !== expected)
        throw new ParseError(
          `${file.name}: ${key} must be ${expected}, got ${show(part.metadata[key])}: it is of another model`,
        );
    if (no === 0) metadata = part.metadata;
    for (const [tensor, stored] of part.tensors) {
      if (tensors.has(tensor)) throw new ParseError(`${file.name}: tensor ${quote(tensor)} is in another part too`);
      tensors.set(tensor, stored);
    }
  }
  const expected = numberOf({ metadata }, source, 'split.tensors.count', tensors.size);
  if (tensors.size !== expected)
    throw new ParseError(`${source.name}: expected ${expected} tensors in ${count} parts, got ${tensors.size}`);
  return { metadata, tensors };
}

function numberOf({ metadata }: Pick<GgufPart, 'metadata'>, { name }: ByteSource, key: string, usual = 0): number {
  const value = metadata[key] ?? usual;
  if (typeof value !== 'number') throw new ParseError(`${name}: ${key} must be a number, got ${typeof value}`);
  return value;
}
