import './page';
import './list';
