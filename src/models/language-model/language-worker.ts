/** The script of the workers of language models, which loads on first use. */
export const languageWorker = async () => (await import('./worker.generated')).source;
