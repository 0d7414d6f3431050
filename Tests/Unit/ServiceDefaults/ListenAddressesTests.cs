using System.Diagnostics;
using Broker.Domain;
using Broker.ServiceDefaults;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Broker.Tests.Unit.ServiceDefaults;

/// <summary>Nothing listens beyond this machine unless AllowInsecure=true says that it may.</summary>
public sealed class ListenAddressesTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("urls", "http://*:8080", "ASPNETCORE_URLS")]
    [InlineData("urls", "http://+:8080", "ASPNETCORE_URLS")]
    [InlineData("urls", "http://0.0.0.0:8080", "ASPNETCORE_URLS")]
    [InlineData("urls", "http://[::]:8080", "ASPNETCORE_URLS")]
    [InlineData("urls", "http://10.1.2.3:8080", "ASPNETCORE_URLS")]
    [InlineData("urls", "http://some-name:8080", "ASPNETCORE_URLS")]
    [InlineData("urls", "http://localhost.example.com:8080", "ASPNETCORE_URLS")]
    [InlineData("urls", "https://*:8443", "ASPNETCORE_URLS")]
    [InlineData("urls", "http://localhost:8080;http://*:8081", "ASPNETCORE_URLS")]
    [InlineData("http_ports", "8080", "HTTP_PORTS")]
    [InlineData("https_ports", "8443", "HTTPS_PORTS")]
    [InlineData("Kestrel:Endpoints:Extra:Url", "http://*:8080", "Kestrel:Endpoints:Extra:Url")]
    [InlineData("Broker:GrpcHost", "*", "Broker:GrpcHost")]
    [InlineData("Broker:GrpcHost", "+", "Broker:GrpcHost")]
    [InlineData("Broker:GrpcHost", "0.0.0.0", "Broker:GrpcHost")]
    [InlineData("Broker:GrpcHost", "::", "Broker:GrpcHost")]
    [InlineData("Broker:GrpcHost", "[::]", "Broker:GrpcHost")]
    [InlineData("Broker:GrpcHost", "192.0.2.1", "Broker:GrpcHost")]
    public void An_address_that_others_can_reach_is_refused_unless_it_is_allowed(
        string key, string value, string toldSetting)
    {
        var failure = Assert.Throws<StartupException>(() => Build((key, value)));
        Assert.Contains(toldSetting, failure.Message, StringComparison.Ordinal);
        Assert.Contains("AllowInsecure=true", failure.Message, StringComparison.Ordinal);

        Assert.Throws<StartupException>(() => Build((key, value), ("AllowInsecure", "false")));
        Build((key, value), ("AllowInsecure", "true"));
    }

    [Theory]
    [InlineData("urls", "http://localhost:8080")]
    [InlineData("urls", "http://LOCALHOST:8080;http://app.localhost:8081")]
    [InlineData("urls", "http://127.0.0.1:8080")]
    [InlineData("urls", "http://127.1.2.3:8080")]
    [InlineData("urls", "http://[::1]:8080")]
    [InlineData("urls", "http://unix:/tmp/some.sock")]
    [InlineData("urls", "")]
    [InlineData("Kestrel:Endpoints:Extra:Url", "http://localhost:8080")]
    [InlineData("Broker:GrpcHost", "")]
    [InlineData("Broker:GrpcHost", "localhost")]
    [InlineData("Broker:GrpcHost", "127.0.0.1")]
    [InlineData("Broker:GrpcHost", "::1")]
    public void An_address_of_this_machine_alone_is_taken(string key, string value) => Build((key, value));

    [Theory]
    [InlineData("AllowInsecure", "yes")]
    [InlineData("Broker:GrpcHost", "broker-1.example.com")]
    [InlineData("Broker:GrpcHost", "http://localhost")]
    [InlineData("Broker:GrpcHost", "localhost:8081")]
    public void A_malformed_setting_is_told_by_its_name(string key, string value)
    {
        var failure = Assert.Throws<StartupException>(
            () => Build(("urls", "http://*:8080"), ("AllowInsecure", "true"), (key, value)));

        Assert.Contains($"The setting {key} is '{value}'", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_grpc_endpoint_listens_where_its_host_says()
    {
        var builder = Configured(
            ("Broker:GrpcPort", "0"), ("Broker:GrpcHost", "*"), ("AllowInsecure", "true"));
        await using var app = builder.Build();
        await app.StartAsync(Cancellation);

        var addresses = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses;
        Assert.Equal(2, addresses.Count);
        Assert.Contains(addresses.Last().Split(":")[1], (string[])["//[", "//0.0.0.0"]);
    }

    /// <summary>The real program, as a container would start it: it ends before it opens a port or a file.</summary>
    [Theory]
    [InlineData("ASPNETCORE_URLS", "http://*:{0}")]
    [InlineData("ASPNETCORE_HTTP_PORTS", "{0}")]
    [InlineData("Broker__GrpcHost", "0.0.0.0")]
    public async Task A_broker_that_may_not_listen_beyond_this_machine_ends_with_exit_code_1(
        string variable, string value)
    {
        var folder = Directory.CreateTempSubdirectory("broker-exposed-");
        var port = FreePorts.Take();
        var start = new ProcessStartInfo("dotnet", [typeof(Limits).Assembly.Location])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
            WorkingDirectory = folder.FullName,
        };
        start.Environment["Broker__DataDirectory"] = Path.Combine(folder.FullName, "data");
        start.Environment["Broker__GrpcPort"] = "0";
        start.Environment[variable] = string.Format(null, value, port);
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync(Cancellation);
        var output = await process.StandardOutput.ReadToEndAsync(Cancellation);
        await process.WaitForExitAsync(Cancellation);

        Assert.Equal(1, process.ExitCode);
        Assert.Contains("AllowInsecure=true", await error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", await error, StringComparison.Ordinal);
        Assert.Equal("", output);
        Assert.False(Directory.Exists(Path.Combine(folder.FullName, "data")));
        folder.Delete(recursive: true);
    }

    private static void Build(params (string Key, string Value)[] settings) => Configured(settings);

    private static WebApplicationBuilder Configured(params (string Key, string Value)[] settings)
    {
        var builder = WebApplication.CreateBuilder(
            new WebApplicationOptions { EnvironmentName = Environments.Production });
        builder.Configuration["urls"] = "http://127.0.0.1:0";
        builder.Configuration["Broker:GrpcPort"] = "0";
        if (settings.Any(setting => setting.Key.EndsWith("_ports", StringComparison.Ordinal)))
        {
            builder.Configuration["urls"] = "";
        }

        foreach (var (key, value) in settings)
        {
            builder.Configuration[key] = value;
        }

        builder.AddServiceDefaults();
        builder.AddGrpcEndpoint("Broker:GrpcPort");
        builder.Logging.ClearProviders();
        return builder;
    }
}
