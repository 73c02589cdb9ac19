/** The zip archives that PyTorch writes, by ranges: entries are stored as they are. */
import { ParseError } from '../../errors';
import { findDirectory, headerBytes, LOCAL, LONGEST_END, parseDirectory, STORED, type ZipEntry } from '../../io/zip';
import { type ByteSource, type ReadOptions, sourceOf } from '../source';

/** Bytes for some 20,000 storages. */
const MOST_DIRECTORY = 2 ** 21;

export interface ArchiveEntry extends ZipEntry {
  /** Its content. */
  readonly source: ByteSource;
}

/**
 * The entries of an archive by name.
 *
 * @throws {ParseError} what is no archive, or one whose entries are compressed or overlap
 */
export async function openArchive(source: ByteSource, options: ReadOptions): Promise<Map<string, ArchiveEntry>> {
  const label = `${source.name}: zip`;
  const from = Math.max(0, source.size - LONGEST_END);
  const { start, bytes, count } = findDirectory(label, await source.read(from, source.size, options), from);
  if (bytes > MOST_DIRECTORY) throw new ParseError(`${label}: its directory takes ${bytes} bytes`);
  const entries = parseDirectory(label, await source.read(start, start + bytes, options), count);
  entries.sort((a, b) => a.offset - b.offset);
  return new Map(
    entries.map((entry, at) => {
      const end = entries[at + 1]?.offset ?? start;
      if (entry.method !== STORED) throw new ParseError(`${entry.label} is compressed, which PyTorch never does`);
      if (entry.offset + LOCAL.bytes + entry.size > end)
        throw new ParseError(`${entry.label} overlaps what is behind it, at byte ${end}`);
      return [entry.name, { ...entry, source: entrySource(source, entry, end) }];
    }),
  );
}

/** The content of an entry: where it begins is read when it is asked for, from the header before it. */
function entrySource(source: ByteSource, entry: ZipEntry, end: number): ByteSource {
  const { offset, size } = entry;
  let start: number | undefined;
  return sourceOf(source.name, size, async (from, to, options) => {
    if (start === undefined) {
      const bytes = await source.read(offset, offset + LOCAL.bytes, options);
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      start = offset + headerBytes(entry, view, 0, bytes.length);
      if (start + size > end) throw new ParseError(`${entry.label} overlaps what is behind it, at byte ${end}`);
    }
    return source.read(start + from, start + to, options);
  });
}
