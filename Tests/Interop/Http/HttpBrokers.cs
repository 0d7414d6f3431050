using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Broker.Tests.Scenarios;
using Xunit;

namespace Broker.Tests.Interop.Http;

/// <summary>Three brokers as processes, and a client that knows nothing but HTTP.</summary>
public sealed class HttpBrokers : IAsyncLifetime
{
    private static int _names;

    private readonly Brokers _brokers = new(founders: 3, shards: 2);

    public HttpClient Http { get; } = new(new SocketsHttpHandler
    {
        RequestHeaderEncodingSelector = static (_, _) => Encoding.UTF8,
    })
    { Timeout = TimeSpan.FromSeconds(90) };

    internal Brokers Brokers => _brokers;

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => await _brokers.FormAsync();

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _brokers.DisposeAsync();
    }

    /// <summary>A name that no other test has.</summary>
    public static string NewName(string of) => $"{of}.{Interlocked.Increment(ref _names)}";

    /// <summary>The address as it is written: percent signs, too.</summary>
    public Uri At(int node, string path) => new(
        _brokers.HttpOf(node).GetLeftPart(UriPartial.Authority) + path,
        new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true });

    /// <summary>
    /// Sends a request and gives the answer's JSON, which must have the status. While nobody leads, which is so for a
    /// moment on a machine that is busy, it comes again: nothing was done.
    /// </summary>
    public async Task<JsonElement> AskAsync(
        string method, string path, object? body = null, int status = 200, int node = 1, params string[] headers)
    {
        var watch = Stopwatch.StartNew();
        var answer = await SendAsync(method, path, body, node, headers);
        while (answer.StatusCode == HttpStatusCode.ServiceUnavailable && status != 503
            && watch.Elapsed < TimeSpan.FromMinutes(1))
        {
            answer.Dispose();
            await Task.Delay(50, Test);
            answer = await SendAsync(method, path, body, node, headers);
        }

        using var last = answer;
        var text = await answer.Content.ReadAsStringAsync(Test);
        Assert.True((int)answer.StatusCode == status, $"{method} {path}: {(int)answer.StatusCode} {text}");
        if (status >= 400)
        {
            AssertIsProblem(answer, text);
        }

        using var json = JsonDocument.Parse(text);
        return json.RootElement.Clone();
    }

    /// <param name="method">The method.</param>
    /// <param name="path">Path and query.</param>
    /// <param name="body">Bytes or text as they are, anything else as JSON.</param>
    /// <param name="node">Whom it is sent to.</param>
    /// <param name="headers">As "name: value".</param>
    public async Task<HttpResponseMessage> SendAsync(
        string method, string path, object? body = null, int node = 1, params string[] headers)
    {
        using var request = Request(method, At(node, path), body, headers);
        return await Http.SendAsync(request, Test);
    }

    public static HttpRequestMessage Request(string method, Uri address, object? body, params string[] headers)
    {
        var request = new HttpRequestMessage(HttpMethod.Parse(method), address);
        if (body is not null)
        {
            request.Content = body switch
            {
                byte[] bytes => new ByteArrayContent(bytes),
                string text => new ByteArrayContent(Encoding.UTF8.GetBytes(text)),
                _ => new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(body))
                {
                    Headers = { ContentType = new MediaTypeHeaderValue("application/json") },
                },
            };
        }

        foreach (var header in headers)
        {
            var (name, value) = (header.Split(':')[0], header[(header.IndexOf(':') + 1)..].Trim());
            if (!request.Headers.TryAddWithoutValidation(name, value))
            {
                request.Content ??= new ByteArrayContent([]);
                request.Content.Headers.Remove(name);
                request.Content.Headers.TryAddWithoutValidation(name, value);
            }
        }

        return request;
    }

    /// <summary>RFC 9457, with a sentence and a reason.</summary>
    public static JsonElement AssertIsProblem(HttpResponseMessage answer, string text)
    {
        Assert.Equal("application/problem+json", answer.Content.Headers.ContentType?.MediaType);
        using var json = JsonDocument.Parse(text);
        var problem = json.RootElement.Clone();
        Assert.Equal((int)answer.StatusCode, problem.GetProperty("status").GetInt32());
        Assert.NotEqual("", problem.GetProperty("reason").GetString());
        Assert.True(problem.GetProperty("detail").GetString()!.Length > 10, text);
        return problem;
    }

    public static string Text(JsonElement json, string name) => json.GetProperty(name).GetString()!;

    public static long Number(JsonElement json, string name) => json.GetProperty(name).GetInt64();

    /// <summary>Publishes until it is taken, as a client does that has a key against repetitions.</summary>
    public async Task<JsonElement> PublishOnceAsync(string topic, string value, string key, params int[] nodes)
    {
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                using var request = Request(
                    "POST",
                    At(nodes[attempt % nodes.Length], $"/v1/topics/{topic}/records"),
                    value,
                    $"Idempotency-Key: {key}");
                using var patience = CancellationTokenSource.CreateLinkedTokenSource(Test);
                patience.CancelAfter(TimeSpan.FromSeconds(5));
                using var answer = await Http.SendAsync(request, patience.Token);
                var text = await answer.Content.ReadAsStringAsync(patience.Token);
                if (answer.StatusCode == HttpStatusCode.OK)
                {
                    using var json = JsonDocument.Parse(text);
                    return json.RootElement.Clone();
                }

                AssertIsProblem(answer, text);
                Assert.True(attempt < 200, text);
            }
            catch (Exception failure) when (attempt < 200 && !Test.IsCancellationRequested
                && failure is HttpRequestException or OperationCanceledException or IOException)
            {
                // The broker is away, or silent: the next one is asked.
            }
        }
    }
}
