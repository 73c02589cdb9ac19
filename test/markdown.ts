/** A table in Markdown, padded as the formatter does it; all columns but the first `left` flush right. */
export function markdownTable([header, ...rows]: readonly (readonly string[])[], left = 1): string {
  const widths = header?.map((_, at) => Math.max(3, ...[header, ...rows].map((cells) => cells[at]?.length ?? 0))) ?? [];
  const rule = widths.map((width, at) => (at < left ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  const pad = (cell: string, at: number) => (at < left ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0));
  return [header ?? [], rule, ...rows].map((cells) => `| ${cells.map(pad).join(' | ')} |`).join('\n');
}

/** `text` with what stands between `<!-- name -->` and the next `<!-- end -->` replaced; throws where there are none. */
export function replaceSection(text: string, name: string, content: string): string {
  const section = new RegExp(`(<!-- ${name} -->\\n)[\\s\\S]*?(<!-- end -->)`);
  if (!section.test(text)) throw new Error(`no section ${name}`);
  return text.replace(section, (_, start, end) => `${start}\n${content}\n\n${end}`);
}
