import pytest
import torch

from dse_hf import WaveUNetConfig, WaveUNetModel
from dse_hf.models.modeling_waveunet_fast import predict_sources_fast


def random_model(**fields) -> WaveUNetModel:
    torch.manual_seed(0)
    model = WaveUNetModel(WaveUNetConfig(num_layers=2, channel_growth=4, **fields)).eval()
    for parameter in model.parameters():  # biases and upsampling weights are zero at first
        torch.nn.init.normal_(parameter, std=0.2)
    return model


CASES = [
    {"downsampling_kernel_size": down, "upsampling_kernel_size": up, "padding": padding, "upsampling": upsampling}
    for down, up in ((15, 5), (3, 1), (5, 3), (9, 7), (1, 9))
    for padding in ("same", "valid")
    for upsampling in ("linear", "learned")
]


@pytest.mark.parametrize("fields", CASES, ids=lambda fields: "-".join(map(str, fields.values())))
@pytest.mark.parametrize("output_length", [1, 4, 61])
def test_the_same_samples_as_the_plain_network(fields, output_length):
    model = random_model(channels=2, **fields)
    mixture = torch.rand(3, 2, model.config.input_length_for(output_length)) * 2 - 1
    plain = model.network.predict_sources(mixture)
    with_gradients = predict_sources_fast(model.network, mixture)
    with torch.no_grad():
        without = predict_sources_fast(model.network, mixture)
    tolerance = 5e-6 * plain.abs().max().item()
    torch.testing.assert_close(with_gradients, plain, rtol=0, atol=tolerance)
    torch.testing.assert_close(without, plain, rtol=0, atol=tolerance)


@pytest.mark.parametrize("fields", CASES[:4], ids=lambda fields: "-".join(map(str, fields.values())))
def test_the_same_gradients_as_the_plain_network(fields):
    model = random_model(**fields)
    mixture = torch.rand(2, 1, model.config.input_length_for(30)) * 2 - 1

    def gradients(predict):
        model.zero_grad()
        predict(mixture).square().sum().backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    plain = gradients(model.network.predict_sources)
    fast = gradients(lambda mixture: predict_sources_fast(model.network, mixture))
    for ours, theirs in zip(fast, plain):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * theirs.abs().max().item() + 1e-7)


def test_half_precision_is_near():
    model = random_model(padding="same")
    mixture = torch.rand(1, 1, 1025) * 2 - 1
    with torch.no_grad():
        exact = model(mixture).sources
        rough = model.to(torch.bfloat16)(mixture.bfloat16()).sources.float()
    assert 10 * torch.log10(exact.square().sum() / (exact - rough).square().sum()) > 25
