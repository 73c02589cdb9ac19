/** The folder of this package's caches; for Node only. */

/**
 * `saccade` in the user's folder of caches: `$XDG_CACHE_HOME`, or that of the system, such as `~/.cache`.
 * @throws a system error where the user has no home
 */
export function cacheFolder(): string {
  const { XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  const { homedir } = process.getBuiltinModule('node:os');
  const { join } = process.getBuiltinModule('node:path');
  if (XDG_CACHE_HOME) return join(XDG_CACHE_HOME, 'saccade');
  if (process.platform === 'win32' && LOCALAPPDATA) return join(LOCALAPPDATA, 'saccade');
  return join(homedir(), process.platform === 'darwin' ? 'Library/Caches' : '.cache', 'saccade');
}
