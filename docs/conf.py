"""How the site is made of its pages: ``make site`` lays them out and calls Sphinx."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "Hierarchical classification of chest X-rays"
html_title = project
html_short_title = "Chest X-rays"
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "course_site"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}
root_doc = "index"
exclude_patterns = ["files"]
pygments_style = "a11y-high-contrast-light"

# The notebooks are committed with their outputs. Nothing runs, and nothing is fetched.
nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
myst_update_mathjax = False
html_math_renderer = "mathml"
# A model card, shown by a notebook, has headings of its own.
suppress_warnings = ["myst.header"]

add_module_names = False
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"
maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_last_updated_fmt = None
# A page opened from a file may not read others: what a search finds is shown without a summary.
html_show_search_summary = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "use_repository_button": False,
    "home_page_in_toc": True,
    "navbar_persistent": [],
    "footer_content_items": [],
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
