using System.Text.Json;
using System.Text.RegularExpressions;
using Xunit;
using YamlDotNet.Serialization;

namespace Broker.Tests.EndToEnd.Deployment;

/// <summary>The manifest that azd asks for has the whole model, and nothing of this machine.</summary>
public sealed partial class ManifestTests(PublishedSystem published) : IClassFixture<PublishedSystem>
{
    private readonly Dictionary<string, JsonElement> _resources = JsonDocument.Parse(published.Manifest).RootElement
        .GetProperty("resources").EnumerateObject().ToDictionary(one => one.Name, one => one.Value);

    [Fact]
    public void Every_resource_is_there_with_its_kind()
    {
        Assert.All(["broker-1", "broker-2", "broker-3", "publisher", "subscriber"], name =>
            Assert.StartsWith("project.", KindOf(name), StringComparison.Ordinal));
        Assert.All(["cache", "postgres", "prometheus"], name =>
            Assert.StartsWith("container.", KindOf(name), StringComparison.Ordinal));
        Assert.All(["cache-password", "postgres-password"], name => Assert.Equal("parameter.v0", KindOf(name)));
        Assert.All(["outbox", "inbox"], name => Assert.EndsWith(
            $";Database={name}",
            _resources[name].GetProperty("connectionString").GetString(),
            StringComparison.Ordinal));
    }

    /// <summary>azd takes these schemes alone; and without security nothing may be open to the internet.</summary>
    [Fact]
    public void Bindings_have_fixed_ports_schemes_that_azd_takes_and_nothing_external()
    {
        foreach (var (name, resource) in _resources.Where(one => one.Value.TryGetProperty("bindings", out _)))
        {
            foreach (var binding in resource.GetProperty("bindings").EnumerateObject())
            {
                Assert.Contains(binding.Value.GetProperty("scheme").GetString(), (string[])["tcp", "http"]);
                Assert.True(binding.Value.GetProperty("targetPort").GetInt32() > 0, name);
                Assert.False(binding.Value.TryGetProperty("external", out var external) && external.GetBoolean(), name);
            }
        }

        var services = _resources
            .Where(one => KindOf(one.Key).StartsWith("project.", StringComparison.Ordinal)).ToList();
        Assert.Equal(5, services.Count);
        Assert.All(services, one => Assert.Equal(
            ((string, int, string)[])
            [
                ("http", 8080, "http"),
                ("grpc", 8081, "http2"),
                .. one.Key.StartsWith("broker-", StringComparison.Ordinal)
                    ? [("peer", 8082, "http2")]
                    : Array.Empty<(string, int, string)>(),
            ],
            one.Value.GetProperty("bindings").EnumerateObject().Select(binding => (
                binding.Name,
                binding.Value.GetProperty("targetPort").GetInt32(),
                binding.Value.GetProperty("transport").GetString()!))));
        Assert.All(services, one => Assert.Equal(
            "true", one.Value.GetProperty("env").GetProperty("AllowInsecure").GetString()));
    }

    [Fact]
    public void Every_expression_names_something_that_is_there()
    {
        var expressions = Expression().Matches(published.Manifest);
        Assert.True(expressions.Count > 50);
        Assert.All(expressions, match =>
        {
            var resource = _resources[match.Groups["name"].Value];
            var path = match.Groups["path"].Value.Split('.');
            if (path[0] == "bindings")
            {
                Assert.True(resource.GetProperty("bindings").TryGetProperty(path[1], out _), match.Value);
                Assert.Contains(path[2], (string[])["host", "port", "targetPort", "scheme", "url"]);
            }
            else
            {
                Assert.True(path[0] == "inputs" || resource.TryGetProperty(path[0], out _), match.Value);
            }
        });
    }

    [Fact]
    public void Secrets_are_parameters_to_be_drawn_where_it_is_deployed()
    {
        foreach (var name in (string[])["cache-password", "postgres-password"])
        {
            var input = _resources[name].GetProperty("inputs").GetProperty("value");
            Assert.True(input.GetProperty("secret").GetBoolean());
            Assert.True(input.GetProperty("default").GetProperty("generate").GetProperty("minLength").GetInt32() >= 22);
        }

        var passwords = _resources.Values.Where(one => one.TryGetProperty("env", out _))
            .SelectMany(one => one.GetProperty("env").EnumerateObject())
            .Where(one => one.Name.EndsWith("PASSWORD", StringComparison.Ordinal)).ToList();
        Assert.NotEmpty(passwords);
        Assert.All(passwords, one => Assert.Matches(@"^\{(cache|postgres)-password\.value\}$", one.Value.GetString()));
    }

    [Fact]
    public void Projects_are_found_from_the_manifest_and_no_other_path_of_this_machine_is_in_it()
    {
        var paths = _resources.Values.Where(one => one.TryGetProperty("path", out _))
            .Select(one => one.GetProperty("path").GetString()!).ToList();
        Assert.All(paths, path => Assert.True(
            File.Exists(Path.GetFullPath(path, Path.GetDirectoryName(published.ComposePath)!)), path));
        Assert.DoesNotContain("bindMounts", published.Manifest, StringComparison.Ordinal);
        var rest = paths.Distinct().Aggregate(
            published.Manifest, (text, path) => text.Replace($"\"{path}\"", "", StringComparison.Ordinal));
        foreach (var folder in (string[])[PublishedSystem.Root, Path.GetTempPath(), Environment.GetFolderPath(
            Environment.SpecialFolder.UserProfile)])
        {
            Assert.DoesNotContain(folder.TrimEnd('/'), rest, StringComparison.Ordinal);
        }
    }

    /// <summary>In compose and in what azd deploys the same text arrives in an environment variable.</summary>
    [Fact]
    public void Prometheus_is_told_of_every_service()
    {
        var configuration = new DeserializerBuilder().Build().Deserialize<Dictionary<string, object>>(
            published.Services["prometheus"].Environment["PROMETHEUS_CONFIGURATION"]);
        var job = PublishedSystem.Map(((List<object>)configuration["scrape_configs"]).Single());
        var targets = ((List<object>)job["static_configs"]).Select(PublishedSystem.Map).Select(group => (
            (string)PublishedSystem.Map(group["labels"])["instance"], ((List<object>)group["targets"]).Single()));

        Assert.Equal(
            ((string[])["broker-1", "broker-2", "broker-3", "publisher", "subscriber"]).Select(name =>
                (name, (object)$"{name}:8080")),
            targets);
        Assert.False(job.ContainsKey("file_sd_configs"));
        Assert.Contains(
            "{broker-1.bindings.http.host}:{broker-1.bindings.http.port}",
            _resources["prometheus"].GetProperty("env").GetProperty("PROMETHEUS_CONFIGURATION").GetString(),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Azd_finds_the_AppHost()
    {
        var azure = new DeserializerBuilder().Build().Deserialize<Dictionary<string, object>>(
            File.ReadAllText(Path.Combine(PublishedSystem.Root, "azure.yaml")));
        var service = PublishedSystem.Map(PublishedSystem.Map(azure["services"]).Values.Single());

        Assert.Equal(
            Path.Combine(PublishedSystem.Root, "AppHost", "AppHost.csproj"),
            Path.GetFullPath((string)service["project"], PublishedSystem.Root));
        Assert.Equal("dotnet", service["language"]);
        Assert.Equal("containerapp", service["host"]);
    }

    private string KindOf(string name) => _resources[name].GetProperty("type").GetString()!;

    [GeneratedRegex(@"\{(?<name>[a-z0-9-]+)\.(?<path>[a-zA-Z0-9.-]+)\}")]
    private static partial Regex Expression();
}
