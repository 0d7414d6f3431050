using System.Globalization;
using System.Text.Json;
using Broker.Client;
using Broker.Domain;
using Broker.Protocol.Wire;
using Google.Rpc;
using Grpc.Core;
using Microsoft.AspNetCore.WebUtilities;

namespace Broker.Api;

/// <summary>
/// A refusal as HTTP has it: RFC 9457, with the reason from the contract's one list. Example: {"title":"Not Found",
/// "status":404,"detail":"There is no topic 'a'.","reason":"NOT_FOUND","code":"NOT_FOUND"}.
/// </summary>
internal sealed record HttpProblem(int Status, StatusCode Code, string Reason, string Detail)
{
    public const string ContentType = "application/problem+json";

    private TimeSpan RetryAfter { get; init; }

    private string Leader { get; init; } = "";

    private string Lost { get; init; } = "";

    /// <summary>For what HTTP itself has no call for: another path, method, type of body.</summary>
    public static HttpProblem Of(int status, Reason reason, string sentence) =>
        new(status, CodeOf(status), ReasonNames.Of(reason), sentence);

    public static HttpProblem Of(BrokerException refusal) => Of(StatusMap.ToRpcException(refusal));

    public static HttpProblem Of(RpcException refusal)
    {
        var details = refusal.GetRpcStatus();
        var info = details?.GetDetail<ErrorInfo>();
        return new HttpProblem(
            StatusOf(refusal.StatusCode, info?.Reason), refusal.StatusCode, info?.Reason ?? "", refusal.Status.Detail)
        {
            RetryAfter = details?.GetDetail<RetryInfo>()?.RetryDelay?.ToTimeSpan() ?? TimeSpan.Zero,
            Leader = info?.Metadata.GetValueOrDefault("leader") ?? "",
            Lost = info?.Metadata.GetValueOrDefault("lost") ?? "",
        };
    }

    /// <summary>What the caller is to hear of an exception; null: it is a fault of ours.</summary>
    public static HttpProblem? Of(Exception exception) => exception switch
    {
        HttpRefusal refusal => Of(refusal.Status, refusal.Reason, refusal.Message),
        BrokerException refusal => Of(refusal),
        RpcException refusal => Of(refusal),
        BadHttpRequestException refusal => Of(
            refusal.StatusCode,
            refusal.StatusCode == StatusCodes.Status413PayloadTooLarge
                ? Protocol.Wire.Reason.LimitReached
                : Protocol.Wire.Reason.InvalidRequest,
            refusal.Message),
        _ => null,
    };

    /// <summary>The usual mapping of google.rpc.Code, but that what is too large for good is not "too many".</summary>
    public static int StatusOf(StatusCode code, string? reason = null) => code switch
    {
        StatusCode.OK => StatusCodes.Status200OK,
        StatusCode.Cancelled => StatusCodes.Status499ClientClosedRequest,
        StatusCode.InvalidArgument or StatusCode.FailedPrecondition or StatusCode.OutOfRange =>
            StatusCodes.Status400BadRequest,
        StatusCode.DeadlineExceeded => StatusCodes.Status504GatewayTimeout,
        StatusCode.NotFound => StatusCodes.Status404NotFound,
        StatusCode.AlreadyExists or StatusCode.Aborted => StatusCodes.Status409Conflict,
        StatusCode.PermissionDenied => StatusCodes.Status403Forbidden,
        StatusCode.Unauthenticated => StatusCodes.Status401Unauthorized,
        StatusCode.ResourceExhausted => reason == "MESSAGE_TOO_LARGE"
            ? StatusCodes.Status413PayloadTooLarge
            : StatusCodes.Status429TooManyRequests,
        StatusCode.Unimplemented => StatusCodes.Status501NotImplemented,
        StatusCode.Unavailable => StatusCodes.Status503ServiceUnavailable,
        _ => StatusCodes.Status500InternalServerError,
    };

    public async Task WriteAsync(HttpContext http)
    {
        http.Response.StatusCode = Status;
        http.Response.ContentType = ContentType;
        if (RetryAfter > TimeSpan.Zero)
        {
            http.Response.Headers.RetryAfter =
                ((long)Math.Ceiling(RetryAfter.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
        }

        await using (var json = new Utf8JsonWriter(http.Response.BodyWriter, HttpJson.Writing))
        {
            Write(json);
        }

        await http.Response.BodyWriter.FlushAsync(http.RequestAborted);
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("title", ReasonPhrases.GetReasonPhrase(Status));
        json.WriteNumber("status", Status);
        json.WriteString("detail", Detail);
        json.WriteString("reason", Reason);
        json.WriteString("code", NameOf(Code));
        if (RetryAfter > TimeSpan.Zero)
        {
            json.WriteNumber("retry_after_ms", (long)RetryAfter.TotalMilliseconds);
        }

        if (Leader.Length > 0)
        {
            json.WriteString("leader", Leader);
        }

        if (Lost.Length > 0)
        {
            json.WriteString("lost", Lost);
        }

        json.WriteEndObject();
    }

    private static string NameOf(StatusCode code) => code == StatusCode.OK ? "OK"
        : ((Code)(int)code) switch
        {
            Google.Rpc.Code.InvalidArgument => "INVALID_ARGUMENT",
            Google.Rpc.Code.DeadlineExceeded => "DEADLINE_EXCEEDED",
            Google.Rpc.Code.NotFound => "NOT_FOUND",
            Google.Rpc.Code.AlreadyExists => "ALREADY_EXISTS",
            Google.Rpc.Code.PermissionDenied => "PERMISSION_DENIED",
            Google.Rpc.Code.ResourceExhausted => "RESOURCE_EXHAUSTED",
            Google.Rpc.Code.FailedPrecondition => "FAILED_PRECONDITION",
            Google.Rpc.Code.OutOfRange => "OUT_OF_RANGE",
            Google.Rpc.Code.DataLoss => "DATA_LOSS",
            var other => other.ToString().ToUpperInvariant(),
        };

    private static StatusCode CodeOf(int status) => status switch
    {
        StatusCodes.Status404NotFound => StatusCode.NotFound,
        StatusCodes.Status405MethodNotAllowed => StatusCode.Unimplemented,
        StatusCodes.Status413PayloadTooLarge or StatusCodes.Status429TooManyRequests => StatusCode.ResourceExhausted,
        StatusCodes.Status504GatewayTimeout => StatusCode.DeadlineExceeded,
        >= 500 => StatusCode.Internal,
        _ => StatusCode.InvalidArgument,
    };
}

/// <summary>A request that HTTP's own rules refuse, or this API's.</summary>
internal sealed class HttpRefusal(int status, Reason reason, string sentence) : Exception(sentence)
{
    public int Status => status;

    public Reason Reason => reason;

    /// <summary>The request breaks a rule, which the sentence names.</summary>
    public static HttpRefusal Invalid(string sentence) =>
        new(StatusCodes.Status400BadRequest, Reason.InvalidRequest, sentence);

    public static HttpRefusal TooLarge(string what, long limitBytes) => new(
        StatusCodes.Status413PayloadTooLarge,
        Reason.LimitReached,
        $"{what} has more than {limitBytes:N0} bytes, which is the limit. Nothing was done; send less at a time.");

    public static HttpRefusal WrongType(string? type, string expected) => new(
        StatusCodes.Status415UnsupportedMediaType,
        Reason.InvalidRequest,
        $"The request's Content-Type is '{type ?? "absent"}'; here it must be {expected}.");
}
