/** Where kernels lie. */

export const BUILDS = ['relaxed', 'baseline'] as const;
export type Build = (typeof BUILDS)[number];

/** The URLs of a module's builds. Bundlers look for `new URL('./x.wasm', import.meta.url)`, written out. */
export type KernelFiles = Readonly<Record<Build, () => URL>>;
