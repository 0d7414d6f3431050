using Broker.ServiceDefaults;
using Microsoft.Extensions.Configuration;
using Xunit;

namespace Broker.Tests.Unit.ServiceDefaults;

public sealed class ServiceBuilderTests
{
    [Fact]
    public void No_service_watches_a_file()
    {
        var files = ((IConfigurationBuilder)ServiceBuilder.Create([]).Configuration).Sources
            .OfType<FileConfigurationSource>()
            .ToList();
        Assert.NotEmpty(files);
        Assert.DoesNotContain(files, static file => file.ReloadOnChange);
    }

    [Fact]
    public void Arguments_are_settings() =>
        Assert.Equal("solo", ServiceBuilder.Create(["--Broker:NodeName=solo"]).Configuration["Broker:NodeName"]);
}
