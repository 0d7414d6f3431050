using Broker.Api;
using Broker.Protocol.V1;
using Broker.Tests.Unit.GrpcCalls;
using Broker.Tests.Unit.Protos;
using Broker.Topics;
using Broker.Transport;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Xunit;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Unit.Api;

/// <summary>
/// What the contract has and this version has not is refused by name, and the contract says which that is.
/// </summary>
public sealed class UnimplementedTests
{
    private static readonly Marshaller<byte[]> Bytes = Marshallers.Create(static bytes => bytes, static bytes => bytes);

    private static readonly (ServiceDescriptor Contract, Type Service)[] Services =
    [
        (BrokerReflection.Descriptor.Services[0], typeof(BrokerService)),
        (AdminReflection.Descriptor.Services[0], typeof(AdminService)),
        (PeerReflection.Descriptor.Services[0], typeof(PeerService)),
    ];

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public void The_contract_marks_exactly_the_methods_that_this_version_does_not_have()
    {
        var missing = from each in Services
                      from method in each.Contract.Methods
                      where each.Service.GetMethod(method.Name)!.DeclaringType != each.Service
                      select method.FullName;
        Assert.Equal(missing.Order(), Marked(ProtoFile.Kind.Rpc).Order());
    }

    [Fact]
    public async Task A_method_that_this_version_does_not_have_is_refused_by_its_name()
    {
        // Of the real services none lacks a method now; this one has but one.
        await using var server = await StartAsync();
        var missing = AdminReflection.Descriptor.Services[0].Methods.Where(
            static each => each.Name != nameof(OneMethod.ListTopics)).ToList();
        Assert.NotEmpty(missing);
        Assert.All(await Task.WhenAll(missing.Select(method => RefusalAsync(server, method))), refusal =>
        {
            Assert.Equal(StatusCode.Unimplemented, refusal.Status.StatusCode);
            Assert.Equal(
                $"{refusal.Method.Service.FullName}/{refusal.Method.Name} is part of the contract, but this version of "
                + "the broker does not have it yet. Nothing was done.",
                refusal.Status.Detail);
        });
    }

    [Fact]
    public async Task A_method_that_a_service_overrides_is_called()
    {
        await using var server = await StartAsync();
        var admin = new Admin.AdminClient(server.Channel);
        var answer = await admin.ListTopicsAsync(new ListTopicsRequest(), cancellationToken: Stop);
        Assert.Equal("here", Assert.Single(answer.Topics).Name);
    }

    [Fact]
    public async Task A_stream_that_is_refused_does_not_wait_for_its_requests()
    {
        await using var server = await EchoServer.StartAsync(
            map: static app => app.MapGrpcService<NoMethod>().RefuseUnimplemented());
        using var call = new Protocol.V1.Broker.BrokerClient(server.Channel).Consume(cancellationToken: Stop);

        var refusal = await EchoServer.FailureAsync(call.ResponseStream.MoveNext(Stop));
        Assert.Equal(StatusCode.Unimplemented, refusal.StatusCode);
        Assert.Contains("Consume", refusal.Status.Detail, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("broker.v1.Record", 0)]
    public void A_field_is_refused_if_and_only_if_the_contract_says_so(string message, int refused)
    {
        var marked = Marked(ProtoFile.Kind.Field)
            .Where(name => name.StartsWith($"{message}.", StringComparison.Ordinal))
            .ToHashSet();
        Assert.Equal(refused, marked.Count);
        var type = BrokerReflection.Descriptor.MessageTypes.Concat(AdminReflection.Descriptor.MessageTypes)
            .Single(each => each.FullName == message);
        foreach (var field in type.Fields.InDeclarationOrder())
        {
            var request = type.Parser.ParseFrom(ByteString.Empty);
            Set(request, field);
            var refusal = RefusalOf(request);
            Assert.Equal(marked.Contains(field.FullName), refusal is not null);
            Assert.True(refusal is null || refusal.Contains(field.Name, StringComparison.Ordinal), refusal);
        }
    }

    private static async Task<EchoServer> StartAsync() => await EchoServer.StartAsync(map: app =>
    {
        app.MapGrpcService<BrokerService>().RefuseUnimplemented();
        app.MapGrpcService<PeerService>().RefuseUnimplemented();
        app.MapGrpcService<OneMethod>().RefuseUnimplemented();
    });

    private static IEnumerable<string> Marked(ProtoFile.Kind kind) =>
        from file in ProtoFile.All()
        from each in file.Declarations
        where each.Kind == kind && each.IsNotInThisVersion
        select each.FullName;

    private static async Task<(MethodDescriptor Method, Status Status)> RefusalAsync(
        EchoServer server, MethodDescriptor method)
    {
        var type = (method.IsClientStreaming, method.IsServerStreaming) switch
        {
            (false, false) => MethodType.Unary,
            (false, true) => MethodType.ServerStreaming,
            (true, false) => MethodType.ClientStreaming,
            (true, true) => MethodType.DuplexStreaming,
        };
        var call = new Method<byte[], byte[]>(type, method.Service.FullName, method.Name, Bytes, Bytes);
        var refusal = await EchoServer.FailureAsync(type switch
        {
            MethodType.Unary => server.Calls.AsyncUnaryCall(call, null, default, []).ResponseAsync,
            MethodType.ServerStreaming =>
                server.Calls.AsyncServerStreamingCall(call, null, default, []).ResponseStream.MoveNext(default),
            MethodType.ClientStreaming => server.Calls.AsyncClientStreamingCall(call, null, default).ResponseAsync,
            _ => server.Calls.AsyncDuplexStreamingCall(call, null, default).ResponseStream.MoveNext(default),
        });
        return (method, refusal.Status);
    }

    private static void Set(IMessage message, FieldDescriptor field)
    {
        if (field.IsRepeated)
        {
            ((System.Collections.IList)field.Accessor.GetValue(message)).Add(new Header());
            return;
        }

        var isWrapper = field.FieldType == FieldType.Message && field.MessageType.File.Package == "google.protobuf";
        var value = isWrapper ? field.MessageType.FindFieldByName("value") : field;
        field.Accessor.SetValue(message, value.FieldType switch
        {
            FieldType.Message => field.MessageType.Parser.ParseFrom(ByteString.Empty),
            FieldType.Enum => 1,
            FieldType.Bool => true,
            FieldType.Bytes => ByteString.CopyFromUtf8("x"),
            FieldType.String => "x",
            FieldType.UInt32 => 2U,
            FieldType.UInt64 => 1UL,
            _ => 1L,
        });
    }

    private static string? RefusalOf(IMessage request)
    {
        var scan = RecordBatchScanner.Scan(new RecordBatch { Records = { (Record)request } }.ToByteArray());
        return scan.Reason;
    }

    private sealed class NoMethod : Protocol.Wire.Broker.BrokerBase
    {
    }

    private sealed class OneMethod : Admin.AdminBase
    {
        public override Task<ListTopicsResponse> ListTopics(ListTopicsRequest request, ServerCallContext context) =>
            Task.FromResult(new ListTopicsResponse { Topics = { new TopicDescription { Name = "here" } } });
    }
}
