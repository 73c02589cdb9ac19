import { UnsupportedError } from '../errors';

/** What a package of data exports, found beside this library or beside the program that uses it (Node). */
export async function requireData<Data>(name: string, what: string, remedy: string): Promise<Data> {
  const { createRequire } = process.getBuiltinModule('node:module');
  const require = createRequire(import.meta.url);
  let entry: string;
  try {
    entry = require.resolve(name, { paths: [import.meta.dirname, process.cwd()] });
  } catch {
    throw new UnsupportedError(
      `${what} needs the package ${name}, which is not installed: npm install ${name}, or pass ${remedy}`,
    );
  }
  return require(entry) as Data;
}
