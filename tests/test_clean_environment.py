from .hub.publish_and_load import publish_and_load


def test_the_default_published_gives_the_samples_of_the_command_line_where_dse_hf_is_not(tmp_path):
    assert publish_and_load(tmp_path) <= 1  # step of 16 bits: the two cut the recording elsewhere
