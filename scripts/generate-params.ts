/**
 * Writes the kernels' side of each params.ts beside it, as params.generated.as.ts: of its exports, numbers as constants,
 * lists of names as their places in the list, and structs as classes.
 */
import { globSync, writeFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { dirname, join, relative } from 'node:path';
import type { Fields, Struct } from '../src/runtime/wasm/struct.ts';

/** Where a struct is declared. */
interface Declared {
  readonly file: string;
  readonly name: string;
}

export async function generateParams(root: string): Promise<void> {
  // The sources name modules without extensions.
  registerHooks({ resolve: (name, context, next) => next(/^\..*\/[^.]+$/.test(name) ? `${name}.ts` : name, context) });
  const files = globSync('src/{expressions,ops,runtime}/**/params.ts', { cwd: root }).map((file) => join(root, file));
  const modules = await Promise.all(
    files.map(async (file) => ({ file, exported: Object.entries(await import(file)) })),
  );
  const declared = new Map<unknown, Declared>();
  for (const { file, exported } of modules) {
    for (const [name, value] of exported) if (typeof value === 'function') declared.set(value, { file, name });
  }
  for (const { file, exported } of modules) {
    const inner = new Set<Declared>();
    const declarations = exported.map(([name, value]) => {
      if (typeof value === 'number') return constant(name, value);
      if (Array.isArray(value)) return value.map((code: string, place) => constant(upperCase(code), place)).join('\n');
      return classOf(name, (value as Struct).fields, (struct) => {
        const found = declared.get(struct) as Declared;
        inner.add(found);
        return found.name;
      });
    });
    const imports = [...inner]
      .filter((struct) => struct.file !== file)
      .map((struct) => `import { ${struct.name} } from '${generatedFrom(relative(dirname(file), struct.file))}';`);
    writeFileSync(`${generatedFrom(file)}.ts`, `${[...imports, ...declarations].join('\n\n')}\n`);
  }
}

const generatedFrom = (file: string) => file.replace(/\.ts$/, '.generated.as');

function constant(name: string, value: number): string {
  return `export const ${name}: ${Number.isInteger(value) ? 'i32' : 'f64'} = ${value};`;
}

function upperCase(name: string): string {
  return name
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .replaceAll(' ', '_')
    .toUpperCase();
}

/** Fields are read where they are used, and of the type that they are used as. */
function classOf(name: string, fields: Fields, nameOf: (struct: unknown) => string): string {
  let bytes = 0;
  const getters = Object.entries(fields).map(([field, kind]) => {
    const number = `load<f64>(changetype<usize>(this), ${bytes})`;
    const at = `changetype<usize>(this) + ${bytes}`;
    bytes += bytesOf(kind);
    if (typeof kind !== 'string') return getter(field, nameOf(kind), `changetype<${nameOf(kind)}>(${at})`);
    if (kind === 'f64') return getter(field, kind, number);
    return getter(field, kind, kind === 'bool' ? `${number} != 0` : `<${kind}>${number}`);
  });
  return `@unmanaged\nexport class ${name} {\n${getters.join('\n')}\n}`;
}

function getter(name: string, type: string, value: string): string {
  return `  @inline get ${name}(): ${type} { return ${value}; }`;
}

function bytesOf(kind: Fields[string]): number {
  return typeof kind === 'string' ? 8 : Object.values(kind.fields).reduce((sum, inner) => sum + bytesOf(inner), 0);
}
