/**
 * Writes both sides of each params.ts beside it. Of its exports kernels get, in params.generated.as.ts, numbers as
 * constants, lists of names as their places in the list, and structs as classes; plans get, in params.generated.ts, the
 * numbers, functions that give a struct's numbers in their order, and where the room's compiled kernels lie, those of a part by its name.
 */
import { globSync, writeFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import type { Fields } from '../src/runtime/cpu/struct.ts';

interface Struct {
  readonly file: string;
  readonly name: string;
  readonly fields: Fields;
}

export async function generateParams(root: string): Promise<void> {
  // The sources name modules without extensions.
  const hooks = registerHooks({ resolve: (name, context, next) => next(withExtension(name), context) });
  const files = globSync('src/{expressions,ops,runtime}/**/params.ts', { cwd: root }).map((file) => join(root, file));
  const modules = await Promise.all(files.map(async (file) => ({ file, exported: await exportsOf(file) })));
  hooks.deregister();
  const structs = modules.flatMap(({ file, exported }) =>
    exported.filter(([, value]) => isStruct(value)).map(([name, value]) => ({ file, name, fields: value as Fields })),
  );
  for (const { file, exported } of modules) {
    writeFileSync(file.replace(/ts$/, 'generated.as.ts'), forKernels(file, exported, structs));
    const own = structs.filter((struct) => struct.file === file);
    if (own.length > 0)
      writeFileSync(
        file.replace(/ts$/, 'generated.ts'),
        text([
          ...forPlans(exported, own, pathFrom(file, join(root, 'src/runtime/cpu'))),
          ...compiledKernels(dirname(file)),
        ]),
      );
  }
}

const exportsOf = async (file: string): Promise<[string, unknown][]> => Object.entries(await import(file));
const withExtension = (name: string) => (/^\..*\/[^.]+$/.test(name) ? `${name}.ts` : name);
const isStruct = (value: unknown) => typeof value === 'object' && !Array.isArray(value);

function pathFrom(file: string, to: string): string {
  const path = relative(dirname(file), to);
  return path.startsWith('.') ? path : `./${path}`;
}

function forKernels(file: string, exported: readonly [string, unknown][], structs: readonly Struct[]): string {
  const used = new Set<Struct>();
  const nameOf = (fields: Fields) => {
    const struct = structs.find((other) => other.fields === fields);
    if (!struct) throw new Error(`a struct that is used in ${file} is not exported`);
    used.add(struct);
    return struct.name;
  };
  const declarations = exported.map(([name, value]) => {
    if (typeof value === 'number') return constant(name, value);
    if (Array.isArray(value)) return value.map((code: string, place) => constant(upperCase(code), place)).join('\n');
    return classOf(name, value as Fields, nameOf);
  });
  const imports = [...used]
    .filter((struct) => struct.file !== file)
    .map((struct) => `import { ${struct.name} } from '${pathFrom(file, struct.file.replace(/ts$/, 'generated.as'))}';`);
  return text([...imports, ...declarations]);
}

function constant(name: string, value: number): string {
  return `export const ${name}: ${Number.isInteger(value) ? 'i32' : 'f64'} = ${value};`;
}

export function upperCase(name: string): string {
  return name
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .replaceAll(' ', '_')
    .toUpperCase();
}

/** Fields are read where they are used, as what they are declared to be. */
function classOf(name: string, fields: Fields, nameOf: (fields: Fields) => string): string {
  let bytes = 0;
  const getters = Object.entries(fields).map(([field, kind]) => {
    const number = `load<f64>(changetype<usize>(this), ${bytes})`;
    const at = `changetype<usize>(this) + ${bytes}`;
    bytes += 8 * lengthOf(kind);
    if (typeof kind !== 'string') return getter(field, nameOf(kind), `changetype<${nameOf(kind)}>(${at})`);
    if (kind === 'f64') return getter(field, kind, number);
    if (kind === 'bool') return getter(field, kind, `${number} != 0`);
    const type = kind === 'tensor' ? 'usize' : kind;
    return getter(field, type, `<${type}>${number}`);
  });
  const size = `  @inline static get BYTES(): usize { return ${bytes}; }`;
  return `@unmanaged\nexport class ${name} {\n${[size, ...getters].join('\n')}\n}`;
}

function getter(name: string, type: string, value: string): string {
  return `  @inline get ${name}(): ${type} { return ${value}; }`;
}

function lengthOf(kind: Fields[string]): number {
  return typeof kind === 'string' ? 1 : Object.values(kind).reduce((sum, inner) => sum + lengthOf(inner), 0);
}

function forPlans(exported: readonly [string, unknown][], structs: readonly Struct[], runtime: string): string[] {
  const imports = [
    `import { address } from '${runtime}/plan';`,
    `import type { Values } from '${runtime}/struct';`,
    `import type * as declared from './params';`,
  ];
  const writers = structs.map(
    ({ name, fields }) =>
      `export function ${name}(x: Values<typeof declared.${name}>): number[] {\n  return [${numbersOf('x', fields)}];\n}`,
  );
  const numbers = exported.filter(([, value]) => typeof value === 'number');
  return [imports.join('\n'), ...numbers.map(([name, value]) => `export const ${name} = ${value};`), ...writers];
}

/** Bundlers find the files of a room by URLs that are written out. */
function compiledKernels(room: string): string[] {
  const modules = globSync(`${basename(room)}{,-*}.as.ts`, { cwd: room }).sort();
  return modules.map((source) => {
    const name = basename(source, '.as.ts');
    const part = name.slice(basename(room).length + 1);
    const urls = ['relaxed', 'baseline'].map(
      // Of small files Vite would put every build into a page's script, in base 64.
      (build) => `  ${build}: () => new URL('./${name}.${build}.wasm?no-inline', import.meta.url),`,
    );
    return `export const ${part ? `${part}Kernels` : 'kernels'} = {\n${urls.join('\n')}\n};`;
  });
}

function numbersOf(path: string, fields: Fields): string {
  const numbers = Object.entries(fields).map(([field, kind]) => {
    const value = `${path}.${field}`;
    if (typeof kind !== 'string') return numbersOf(value, kind);
    return kind === 'tensor' ? `address(${value})` : kind === 'bool' ? `Number(${value})` : value;
  });
  return numbers.join(', ');
}

function text(parts: readonly string[]): string {
  return `${parts.join('\n\n')}\n`;
}
