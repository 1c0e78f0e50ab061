from .publishing import Publication as Publication
from .publishing import publish_model as publish_model
from .publishing import publish_space as publish_space
