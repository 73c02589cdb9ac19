import { type ListedPaper, papers } from '.';

/** What a paper is cited by. */
export type Citation = Pick<ListedPaper, 'id' | 'title' | 'authors' | 'year' | 'arxiv'>;

/** The paper of an arXiv number, as methods and models have it; undefined for none of the list. */
export function findPaper(arxiv: string | undefined): ListedPaper | undefined {
  return papers.find((paper) => paper.arxiv === arxiv);
}

export function citationOf({ id, title, authors, year, arxiv }: ListedPaper): Citation {
  return { id, title, authors, year, arxiv };
}
