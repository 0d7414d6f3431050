using Grpc.Core;

namespace Grpc.Wire;

/// <summary>The exceptions that a frame can cause, in one place so that both sides say the same.</summary>
internal static class FrameErrors
{
    public static RpcException ReceivedTooLarge(long sizeBytes, int limitBytes) => new(new Status(
        StatusCode.ResourceExhausted,
        $"Received message of {sizeBytes} bytes exceeds the limit of {limitBytes} bytes; raise "
        + "MaxReceiveMessageSize or send less."));

    public static RpcException DecompressedTooLarge(int limitBytes) => new(new Status(
        StatusCode.ResourceExhausted,
        $"Received message exceeds the limit of {limitBytes} bytes when decompressed; raise MaxReceiveMessageSize "
        + "or send less."));

    public static RpcException SentTooLarge(long sizeBytes, int limitBytes) => new(new Status(
        StatusCode.ResourceExhausted,
        $"Message of {sizeBytes} bytes exceeds the sending limit of {limitBytes} bytes; raise MaxSendMessageSize or "
        + "send less."));

    public static RpcException Malformed(string what) =>
        new(new Status(StatusCode.Internal, $"Malformed gRPC frame: {what}"));

    public static RpcException UnknownEncoding(string encoding, StatusCode code) => new(new Status(
        code, $"Unsupported grpc-encoding '{encoding}'. Supported encodings: {GrpcHeaders.SupportedEncodings}."));
}
