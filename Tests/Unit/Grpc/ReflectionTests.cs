using Google.Protobuf.Reflection;
using Grpc.Core;
using Grpc.Reflection;
using Grpc.Reflection.V1;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Xunit;
using Contract = Broker.Protocol.V1;

namespace Broker.Tests.Unit.GrpcCalls;

public sealed class ReflectionTests
{
    [Fact]
    public async Task The_services_that_are_mapped_are_listed()
    {
        await using var server = await StartAsync();

        var answer = await AskAsync(server, new ServerReflectionRequest { ListServices = "" });

        // The echo service is written by hand and has no .proto file to show.
        Assert.Equal(
            ["broker.v1.Admin", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
             "grpc.reflection.v1alpha.ServerReflection"],
            answer.ListServicesResponse.Service.Select(service => service.Name));
    }

    [Theory]
    [InlineData("broker.v1.Admin")]
    [InlineData("broker.v1.Admin.ListTopics")]
    [InlineData("broker.v1.ListTopicsRequest")]
    [InlineData("broker.v1.ListTopicsRequest.filter")]
    [InlineData("grpc.health.v1.HealthCheckResponse.ServingStatus")]
    [InlineData("grpc.health.v1.HealthCheckResponse.SERVING")]
    public async Task A_symbol_is_found_in_its_file(string symbol)
    {
        await using var server = await StartAsync();

        var answer = await AskAsync(server, new ServerReflectionRequest { FileContainingSymbol = symbol });

        var files = Files(answer);
        Assert.Equal(symbol.StartsWith("broker", StringComparison.Ordinal)
            ? "broker/v1/admin.proto" : "grpc/health/v1/health.proto", files[0].Name);
        Assert.Equal(symbol, answer.OriginalRequest.FileContainingSymbol);
    }

    [Fact]
    public async Task A_file_comes_with_what_it_imports()
    {
        var index = new ReflectionV1ServiceImpl(global::Publisher.Protocol.V1.Publisher.Descriptor);
        await using var server = await StartAsync(services => services.AddSingleton(index));

        var answer = await AskAsync(
            server, new ServerReflectionRequest { FileByFilename = "publisher/v1/publisher.proto" });

        Assert.Equal(
            ["publisher/v1/publisher.proto", "broker/v1/broker.proto", "google/protobuf/wrappers.proto"],
            Files(answer).Select(file => file.Name));
    }

    [Fact]
    public async Task What_is_unknown_is_NOT_FOUND_and_the_conversation_goes_on()
    {
        await using var server = await StartAsync();
        using var call = new ServerReflection.ServerReflectionClient(server.Channel).ServerReflectionInfo();
        ServerReflectionRequest[] requests =
        [
            new() { FileByFilename = "no.proto" },
            new() { FileContainingSymbol = "no.Such" },
            new() { AllExtensionNumbersOfType = "no.Such" },
            new() { FileContainingExtension = new() { ContainingType = "no.Such", ExtensionNumber = 5 } },
        ];
        foreach (var request in requests)
        {
            await call.RequestStream.WriteAsync(request);
            Assert.True(await call.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
            Assert.Equal((int)StatusCode.NotFound, call.ResponseStream.Current.ErrorResponse.ErrorCode);
        }

        await call.RequestStream.WriteAsync(new ServerReflectionRequest());
        Assert.True(await call.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
        Assert.Equal((int)StatusCode.InvalidArgument, call.ResponseStream.Current.ErrorResponse.ErrorCode);
        await call.RequestStream.CompleteAsync();
        Assert.False(await call.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
    }

    [Fact]
    public async Task A_type_without_extensions_has_none()
    {
        const string Type = "broker.v1.ListTopicsRequest";
        var index = new ReflectionV1ServiceImpl(Contract.Admin.Descriptor);
        await using var server = await StartAsync(services => services.AddSingleton(index));

        var answer = await AskAsync(
            server, new ServerReflectionRequest { AllExtensionNumbersOfType = Type });

        Assert.Equal(Type, answer.AllExtensionNumbersResponse.BaseTypeName);
        Assert.Empty(answer.AllExtensionNumbersResponse.ExtensionNumber);
    }

    [Fact]
    public async Task The_older_version_gives_the_same_answers()
    {
        await using var server = await StartAsync();
        using var call = new global::Grpc.Reflection.V1Alpha.ServerReflection.ServerReflectionClient(server.Channel)
            .ServerReflectionInfo();
        await call.RequestStream.WriteAsync(new() { Host = "here", FileContainingSymbol = "broker.v1.Admin" });

        Assert.True(await call.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
        var old = call.ResponseStream.Current;
        var answer = await AskAsync(
            server, new ServerReflectionRequest { Host = "here", FileContainingSymbol = "broker.v1.Admin" });

        Assert.Equal("here", old.ValidHost);
        Assert.Equal(
            answer.FileDescriptorResponse.FileDescriptorProto, old.FileDescriptorResponse.FileDescriptorProto);
    }

    [Fact]
    public async Task Mapping_without_registering_says_what_is_missing()
    {
        var failure = await Assert.ThrowsAsync<InvalidOperationException>(
            () => EchoServer.StartAsync(map: app => app.MapGrpcReflectionService()));

        Assert.Contains("AddGrpcReflection", failure.Message, StringComparison.Ordinal);
    }

    private static async Task<ServerReflectionResponse> AskAsync(EchoServer server, ServerReflectionRequest request)
    {
        using var call = new ServerReflection.ServerReflectionClient(server.Channel).ServerReflectionInfo();
        await call.RequestStream.WriteAsync(request);
        Assert.True(await call.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
        return call.ResponseStream.Current;
    }

    private static List<FileDescriptorProto> Files(ServerReflectionResponse response) =>
        [.. response.FileDescriptorResponse.FileDescriptorProto.Select(FileDescriptorProto.Parser.ParseFrom)];

    private static Task<EchoServer> StartAsync(Action<IServiceCollection>? register = null) => EchoServer.StartAsync(
        map: app =>
        {
            app.MapGrpcService<AdminStub>();
            app.MapGrpcHealthChecksService();
            app.MapGrpcReflectionService();
        },
        register: services =>
        {
            register?.Invoke(services);
            services.AddGrpcHealthChecks();
            services.AddGrpcReflection();
        });

    private sealed class AdminStub : Contract.Admin.AdminBase;
}
