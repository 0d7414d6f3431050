using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using Broker.Api;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace Broker.Tests.Interop.Http;

/// <summary>The OpenAPI document and its page; of a node within this process, whose endpoints can be listed.</summary>
public sealed partial class HttpDocumentTests : IAsyncLifetime
{
    private static readonly string[] Methods = ["get", "post", "put", "patch", "delete"];

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("broker-document-");
    private readonly WebApplication _node;
    private readonly HttpClient _http = new();

    public HttpDocumentTests() => _node = BrokerHost.Build([
        "--Broker:NodeName=broker-1",
        "--Broker:ClusterSize=1",
        $"--Broker:DataDirectory={Path.Combine(_folder.FullName, "1")}",
        "--urls=http://127.0.0.1:0",
        "--Logging:LogLevel:Default=Warning",
    ]);

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        await _node.StartAsync(Test);
        _http.BaseAddress = new Uri(_node.Services.GetRequiredService<IServer>().Features
            .Get<IServerAddressesFeature>()!.Addresses.Single());
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        await _node.StopAsync(Test);
        await _node.DisposeAsync();
        _folder.Delete(recursive: true);
    }

    [Fact]
    public async Task Every_address_is_in_the_document_with_words_and_forms()
    {
        using var document = JsonDocument.Parse(await _http.GetStringAsync("/openapi/v1.json", Test));
        var root = document.RootElement;
        Assert.StartsWith("3.1", root.GetProperty("openapi").GetString(), StringComparison.Ordinal);
        var described = new List<string>();
        var ids = new HashSet<string>();
        foreach (var path in root.GetProperty("paths").EnumerateObject())
        {
            foreach (var method in path.Value.EnumerateObject())
            {
                Assert.Contains(method.Name, Methods);
                described.Add($"{method.Name.ToUpperInvariant()} {path.Name}");
                AssertHasWords(method.Value, $"{method.Name} {path.Name}");
                Assert.True(ids.Add(method.Value.GetProperty("operationId").GetString()!), path.Name);
                var names = PathName().Matches(path.Name).Select(static each => each.Groups[1].Value);
                var told = ParametersOf(method.Value)
                    .Where(static each => each.GetProperty("in").GetString() == "path")
                    .Select(static each => each.GetProperty("name").GetString()!);
                Assert.Equal(names.Order(StringComparer.Ordinal), told.Order(StringComparer.Ordinal));
            }
        }

        var mapped = _node.Services.GetServices<EndpointDataSource>().SelectMany(static source => source.Endpoints)
            .OfType<RouteEndpoint>()
            .Where(static each => each.RoutePattern.RawText!.StartsWith("/v1/", StringComparison.Ordinal))
            .SelectMany(static each => each.Metadata.GetMetadata<HttpMethodMetadata>()?.HttpMethods
                .Select(method => $"{method} {each.RoutePattern.RawText}") ?? []).ToList();
        Assert.True(mapped.Count > 30, $"{mapped.Count} addresses are mapped.");
        Assert.Equal(mapped.Order(StringComparer.Ordinal), described.Order(StringComparer.Ordinal));
        AssertReferencesLead(root, root);
    }

    [Fact]
    public async Task Forms_are_those_of_the_contract_with_its_words()
    {
        using var document = JsonDocument.Parse(await _http.GetStringAsync("/openapi/v1.json", Test));
        var schemas = document.RootElement.GetProperty("components").GetProperty("schemas");
        var topic = schemas.GetProperty("TopicConfig").GetProperty("properties");
        Assert.Equal("integer", topic.GetProperty("max_age_ms").GetProperty("type").GetString());
        Assert.Equal("boolean", topic.GetProperty("compact").GetProperty("type").GetString());
        Assert.StartsWith(
            "Records older than so many milliseconds are removed",
            topic.GetProperty("max_age_ms").GetProperty("description").GetString(),
            StringComparison.Ordinal);
        Assert.Equal(
            "string",
            schemas.GetProperty("TopicDescription").GetProperty("properties").GetProperty("topic_id")
                .GetProperty("type").GetString());
        Assert.Contains(
            "GROUP_MODE_KEY_ORDERED",
            schemas.GetProperty("GroupConfig").GetProperty("properties").GetProperty("mode").GetProperty("enum")
                .EnumerateArray().Select(static each => each.GetString()));
        Assert.True(schemas.GetProperty("Delivery").GetProperty("properties").TryGetProperty("records", out _));
    }

    [Fact]
    public async Task The_page_needs_nothing_from_the_internet()
    {
        using var answer = await _http.GetAsync("/docs/", Test);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        var policy = answer.Headers.GetValues("Content-Security-Policy").Single();
        Assert.Contains("default-src 'self'", policy, StringComparison.Ordinal);
        Assert.DoesNotContain("http", policy, StringComparison.Ordinal);
        var page = await answer.Content.ReadAsStringAsync(Test);
        Assert.Contains("openapi/v1.json", page, StringComparison.Ordinal);
        var scripts = Script().Matches(page).Select(static each => each.Groups[1].Value).ToList();
        Assert.Equal(2, scripts.Count);
        foreach (var script in scripts)
        {
            Assert.DoesNotContain("//", script, StringComparison.Ordinal);
            using var served = await _http.GetAsync($"/docs/{script}", Test);
            Assert.Equal(HttpStatusCode.OK, served.StatusCode);
            Assert.Equal("text/javascript", served.Content.Headers.ContentType?.MediaType);
            Assert.NotEmpty(await served.Content.ReadAsByteArrayAsync(Test));
        }
    }

    private static void AssertHasWords(JsonElement operation, string what)
    {
        Assert.True(operation.GetProperty("summary").GetString()!.Length > 5, what);
        Assert.True(operation.GetProperty("description").GetString()!.Length > 20, what);
        Assert.All(
            ParametersOf(operation),
            each => Assert.True(
                each.TryGetProperty("description", out var words) && words.GetString()!.Length > 3, $"{what}: {each}"));
        foreach (var name in (string[])["200", "default"])
        {
            var content = operation.GetProperty("responses").GetProperty(name).GetProperty("content");
            Assert.NotEmpty(content.EnumerateObject());
            Assert.All(
                content.EnumerateObject(), static each => Assert.True(each.Value.TryGetProperty("schema", out _)));
        }
    }

    private static JsonElement[] ParametersOf(JsonElement operation) =>
        operation.TryGetProperty("parameters", out var parameters) ? [.. parameters.EnumerateArray()] : [];

    private static void AssertReferencesLead(JsonElement root, JsonElement element)
    {
        if (element.ValueKind == JsonValueKind.Array)
        {
            foreach (var each in element.EnumerateArray())
            {
                AssertReferencesLead(root, each);
            }
        }
        else if (element.ValueKind == JsonValueKind.Object)
        {
            foreach (var each in element.EnumerateObject())
            {
                if (each.NameEquals("$ref"))
                {
                    var at = root;
                    foreach (var part in each.Value.GetString()!.Split('/')[1..])
                    {
                        Assert.True(at.TryGetProperty(part, out at), each.Value.GetString());
                    }
                }
                else
                {
                    AssertReferencesLead(root, each.Value);
                }
            }
        }
    }

    [GeneratedRegex(@"\{(\w+)\}")]
    private static partial Regex PathName();

    [GeneratedRegex("<script[^>]* src=\"([^\"]+)\"")]
    private static partial Regex Script();
}
