using System.Globalization;
using Broker.Domain;
using Google.Protobuf;
using Grpc.Core;

namespace Broker.Api;

/// <summary>
/// Refuses a call before gRPC has seen it, or after it was passed on, as gRPC would; one by HTTP as HTTP would.
/// </summary>
internal static class EarlyRefusal
{
    public static bool IsGrpc(HttpRequest request) =>
        request.ContentType?.StartsWith("application/grpc", StringComparison.Ordinal) == true;

    /// <summary>A response of trailers only (gRPC over HTTP/2, "Responses"), or a problem.</summary>
    public static Task AnswerAsync(HttpContext http, BrokerException refusal)
    {
        if (!IsGrpc(http.Request))
        {
            return HttpProblem.Of(refusal).WriteAsync(http);
        }

        Answer(http, refusal);
        return Task.CompletedTask;
    }

    private static void Answer(HttpContext http, BrokerException refusal)
    {
        http.Response.ContentType = "application/grpc";
        foreach (var (name, value) in TrailersOf(refusal))
        {
            http.Response.Headers[name] = value;
        }
    }

    /// <summary>The same at the end of a response that has begun.</summary>
    public static void End(HttpContext http, BrokerException refusal)
    {
        foreach (var (name, value) in TrailersOf(refusal))
        {
            http.Response.AppendTrailer(name, value);
        }
    }

    private static IEnumerable<(string Name, string Value)> TrailersOf(BrokerException refusal)
    {
        var code = StatusMap.ToStatusCode(refusal.Code);
        yield return ("grpc-status", ((int)code).ToString(CultureInfo.InvariantCulture));
        yield return ("grpc-message", Uri.EscapeDataString(refusal.Message));
        yield return (MetadataExtensions.StatusDetailsTrailerName, Convert.ToBase64String(
            StatusMap.Details(code, refusal.Message, StatusMap.ToReason(refusal.Code), refusal.RetryAfter)
                .ToByteArray()));
    }
}
