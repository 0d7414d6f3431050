using Grpc.Core;
using Grpc.Wire;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Grpc.AspNetCore.Server.Internal;

internal sealed partial class ServerCall
{
    /// <summary>INTERNAL_ERROR of HTTP/2 (RFC 9113, 7).</summary>
    private const int Http2InternalError = 2;

    public static void WriteStatus(IHeaderDictionary target, Status status)
    {
        target[GrpcHeaders.Status] = StatusText((int)status.StatusCode);
        if (!string.IsNullOrEmpty(status.Detail))
        {
            target[GrpcHeaders.Message] = PercentEncoding.Encode(status.Detail);
        }
    }

    /// <summary>Finds the status that an exception of the handler stands for.</summary>
    public void Fail(Exception exception)
    {
        if (exception is RpcException rpc)
        {
            StatusCore = rpc.Status;
            foreach (var entry in rpc.Trailers)
            {
                ResponseTrailersCore.Add(entry);
            }
        }
        else if (IsPastDeadline)
        {
            // The handler did right to stop; End names the deadline.
            StatusCore = new Status(StatusCode.DeadlineExceeded, "Deadline exceeded.");
        }
        else if (IsAborted)
        {
            StatusCore = Status.DefaultCancelled;
        }
        else
        {
            GrpcServerLog.HandlerFailed(settings.Logger, method.FullName, exception);
            var detail = Options.EnableDetailedErrors is true
                ? $"Exception was thrown by handler. {exception.GetType().Name}: {exception.Message}"
                : "Exception was thrown by handler.";
            StatusCore = new Status(StatusCode.Unknown, detail);
        }
    }

    /// <summary>Sends the status: as trailers after a response, or else as headers alone.</summary>
    public void End()
    {
        HasEnded = true;
        if (IsAborted)
        {
            GrpcServerLog.CallAborted(settings.Logger, method.FullName);
            return;
        }

        if (IsPastDeadline)
        {
            StatusCore = new Status(StatusCode.DeadlineExceeded, "Deadline exceeded.");
        }

        var status = StatusCore;
        if (status.StatusCode != StatusCode.OK)
        {
            GrpcServerLog.CallFailed(
                settings.Logger, method.FullName, status.StatusCode, status.Detail, status.DebugException);
        }

        TagActivity(status);
        if (FrameWriter.IsInsideFrame)
        {
            // Half a frame cannot be taken back, and trailers after it would make it look whole.
            http.Features.Get<IHttpResetFeature>()?.Reset(Http2InternalError);
            return;
        }

        WriteTrailers(status);
    }

    private void WriteTrailers(Status status)
    {
        var response = http.Response;
        var target = response.HasStarted
            ? http.Features.GetRequiredFeature<IHttpResponseTrailersFeature>().Trailers
            : response.Headers;
        if (_responseTrailers is not null)
        {
            foreach (var entry in _responseTrailers)
            {
                if (MetadataHeaders.TryEncode(entry, out var value))
                {
                    target.Append(entry.Key, value);
                }
                else
                {
                    status = new Status(StatusCode.Internal, MetadataHeaders.DescribeBadText(entry));
                }
            }
        }

        WriteStatus(target, status);
    }

    private void TagActivity(Status status)
    {
        var activity = http.Features.Get<IHttpActivityFeature>()?.Activity;
        if (activity is { IsAllDataRequested: true })
        {
            activity.SetTag("grpc.method", method.FullName);
            activity.SetTag("grpc.status_code", (int)status.StatusCode);
        }
    }

    private static string StatusText(int code) => code switch
    {
        0 => "0",
        _ => code.ToString(System.Globalization.CultureInfo.InvariantCulture),
    };
}
