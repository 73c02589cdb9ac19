/** Optional packages, looked for beside this library and beside the program that uses it (Node). */
import { UnsupportedError } from './errors';

/** Throws one error for all packages that are not installed; `needs` says what needs each, `remedy` what else helps. */
export function checkInstalled(needs: Readonly<Record<string, string>>, remedy?: string): void {
  const missing = Object.entries(needs).filter(([name]) => resolvePackage(name) === undefined);
  if (missing.length === 0) return;
  const names = missing.map(([name]) => name);
  const said = missing.map(([name, what]) => `${what} needs the package ${name}`).join(', ');
  const absent = names.length > 1 ? 'which are not installed' : 'which is not installed';
  throw new UnsupportedError(
    `${said}, ${absent}: npm install ${names.join(' ')}${remedy === undefined ? '' : `, or ${remedy}`}`,
  );
}

/** The file that importing a package loads, or another of its files; undefined if there is none. */
export function resolvePackage(path: string): string | undefined {
  const { createRequire } = process.getBuiltinModule('node:module');
  try {
    return createRequire(import.meta.url).resolve(path, { paths: [import.meta.dirname, process.cwd()] });
  } catch {
    return undefined;
  }
}

/** What a package of data exports; `what` needs it, `remedy` helps without. */
export function requireData<Data>(name: string, what: string, remedy: string): Data {
  checkInstalled({ [name]: what }, remedy);
  const { createRequire } = process.getBuiltinModule('node:module');
  return createRequire(import.meta.url)(resolvePackage(name) as string) as Data;
}
