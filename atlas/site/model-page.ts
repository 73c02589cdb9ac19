import 'katex/dist/katex.css';
import './page';
import './model';
